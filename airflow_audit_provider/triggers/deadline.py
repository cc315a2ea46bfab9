"""Callback of Airflow's deadline alerts, for a DAG that waits until a window is committed.

The triggerer runs it, so it must be importable there: a function in a DAG file is not, one in an installed package is.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

log = logging.getLogger(__name__)


async def log_missed_deadline(text: str, context: Mapping[str, Any] | None = None) -> None:
    """Logs an error with a text and the run that missed its deadline.

    For ``AsyncCallback`` (Airflow 3.1 and newer). Replace it by a notifier to send the text to people.

    :param text: what the missed deadline means. Airflow also puts it into a tag of a metric, so keep it short.
    :param context: ``dag_run`` and ``deadline``, as Airflow states them.
    """
    log.error("%s", f"{text} {_run_text(context or {})}".rstrip())


def _run_text(context: Mapping[str, Any]) -> str:
    """Returns the sentence about the run, empty without one; Airflow's versions have it as a dict or as an object."""
    run = context.get("dag_run")
    if run is None:
        return ""
    run_id, dag_id = _read(run, "dag_run_id"), _read(run, "dag_id")
    at = _read(context.get("deadline"), "deadline_time")
    return (
        f"The run {run_id} of {dag_id} has not ended by its deadline {at}: "
        "look at the log of its task, and at the DAG that lands the window."
    )


def _read(described: object, name: str) -> object:
    """Returns a field of a dict or an object, ``unknown`` without it."""
    if isinstance(described, Mapping):
        return described.get(name, "unknown")
    return getattr(described, name, "unknown")
