"""Differences between Airflow versions: every check of a version, and every import that a version lacks, is here.

Invariant: an import of this module costs nothing at DAG parse; what only a run needs is imported in the function.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

try:
    from airflow.sdk.exceptions import AirflowRescheduleException
except ImportError:  # before Airflow 3.2
    from airflow.exceptions import AirflowRescheduleException

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseHook
    from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy

__all__ = ["AirflowRescheduleException", "aload_connection", "can_reschedule_mapped_tasks", "retry_policy_classes"]

# Before 3.1.8 the scheduler checks the reschedule date only of sensors, and a mapped task cannot declare itself one.
_RESCHEDULES_MAPPED_TASKS = (3, 1, 8)


def can_reschedule_mapped_tasks() -> bool:
    """Returns whether this Airflow's scheduler waits for the reschedule date of a mapped task."""
    return tuple(map(int, re.findall(r"\d+", _airflow_version())[:3])) >= _RESCHEDULES_MAPPED_TASKS


def _airflow_version() -> str:
    from airflow import __version__

    return __version__


async def aload_connection(
    conn_id: str, hook: BaseHook, check: Callable[[str, Any], None]
) -> tuple[Any, dict[str, Any]]:
    """Returns a connection and its extra without blocking the event loop; raises what ``get_connection`` raises.

    ``check`` is called with id and connection before the extra is read.

    The triggers of a triggerer share one event loop, so a blocking call would stop all of them. An override of
    ``aget_connection`` or ``get_connection`` in the hook's class applies.
    """
    from airflow.providers.common.compat import connection as compat
    from asgiref.sync import sync_to_async

    aget_extra = getattr(compat, "get_async_extra_dejson", None)
    if _overrides(hook, "aget_connection"):
        conn = await hook.aget_connection(conn_id)
    elif aget_extra is not None and not _overrides(hook, "get_connection"):
        conn = await compat.get_async_connection(conn_id)
    else:
        # Older Airflow needs a thread, and it must be one of asgiref's: from there Airflow sends its request to the
        # supervisor on the triggerer's own loop.
        conn = await sync_to_async(hook.get_connection)(conn_id)
    check(conn_id, conn)
    extra = await aget_extra(conn) if aget_extra is not None else await sync_to_async(getattr)(conn, "extra_dejson")
    return conn, extra


def _overrides(hook: BaseHook, method: str) -> bool:
    """Returns whether a hook has another class method of this name than Airflow's ``BaseHook``."""
    from airflow.providers.common.compat.sdk import BaseHook

    ours, airflows = (getattr(getattr(owner, method, None), "__func__", None) for owner in (hook, BaseHook))
    return ours is not airflows


def retry_policy_classes() -> tuple[type[RetryPolicy], type[RetryDecision]]:
    """Returns Airflow's retry policy classes; raises ``ImportError`` with a remedy before Airflow 3.3."""
    try:
        from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy
    except ImportError as error:
        raise ImportError(
            "CloudflareRetryPolicy needs Airflow 3.3 or newer. Remove retry_policy: the operators and sensors make the "
            "same decisions without it."
        ) from error
    return RetryPolicy, RetryDecision
