"""Differences between Airflow versions: every check of a version, and every import that a version lacks, is here.

Invariant: an import of this module costs nothing at DAG parse; what only a run needs is imported in the function.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

try:
    from airflow.sdk.exceptions import AirflowRescheduleException
except ImportError:  # before Airflow 3.2
    from airflow.exceptions import AirflowRescheduleException

if TYPE_CHECKING:
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


async def aload_connection(conn_id: str) -> tuple[Any, dict[str, Any]]:
    """Returns a connection and its extra without blocking the event loop; raises what ``get_connection`` raises.

    The triggers of a triggerer share one event loop, so a blocking call would stop all of them.
    """
    from airflow.providers.common.compat import connection as compat

    aget_extra = getattr(compat, "get_async_extra_dejson", None)
    if aget_extra is not None:
        conn = await compat.get_async_connection(conn_id)
        return conn, await aget_extra(conn)
    from asgiref.sync import sync_to_async

    # Older Airflow needs a thread, and it must be one of asgiref's: from there Airflow asks the supervisor on the
    # triggerer's own loop.
    return await sync_to_async(_load_connection)(conn_id)


def _load_connection(conn_id: str) -> tuple[Any, dict[str, Any]]:
    from airflow.providers.common.compat.sdk import BaseHook

    conn = BaseHook.get_connection(conn_id)
    return conn, conn.extra_dejson


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
