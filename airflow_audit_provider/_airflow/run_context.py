"""Reads a run's bounds from Airflow's task context, whatever started the run.

Asset-triggered runs and manual runs without a logical date have no data interval and no ``ds`` in the context. Airflow
3.2 gives a run's partition only through ``dag_run``, Airflow 3.3 through the context too.

Invariant: any key of the context may be missing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import uuid4

from airflow_audit_provider.core.windows.run_window import Bound, RunBounds


def run_bounds(
    context: Mapping[str, Any],
    *,
    window_start: Bound,
    window_end: Bound,
    window_length: timedelta | None,
    timezone: str,
    partition_key_format: str,
) -> RunBounds:
    """Returns the bounds that the run and the operator's arguments give."""
    return RunBounds(
        window_start=window_start,
        window_end=window_end,
        window_length=window_length,
        timezone=timezone,
        partition_date=_partition(context, "partition_date"),
        partition_key=_partition(context, "partition_key"),
        partition_key_format=partition_key_format,
        data_interval_start=context.get("data_interval_start"),
        data_interval_end=context.get("data_interval_end"),
    )


def task_identity(context: Mapping[str, Any]) -> str:
    """Returns a name of the task instance that all of its attempts share; without one in the context, a random name."""
    instance = context.get("ti")
    names = ("dag_id", "task_id", "run_id", "map_index")
    found = [getattr(instance, name, None) for name in names]
    if instance is None or not all(isinstance(one, str | int) for one in found):
        return uuid4().hex
    return hashlib.sha256(repr(found).encode()).hexdigest()[:32]


class RunAttempts(NamedTuple):
    """The attempts of a task's run: their ids begin with ``run_id``; ``is_retry`` if there was an earlier one."""

    run_id: str
    is_retry: bool

    @classmethod
    def of(cls, context: Mapping[str, Any]) -> RunAttempts:
        """Returns those of the run in a context."""
        return cls(task_identity(context)[:16], getattr(context.get("ti"), "try_number", 1) > 1)

    @property
    def earlier_id(self) -> str | None:
        """What the ids of earlier attempts begin with, None if there was none."""
        return self.run_id if self.is_retry else None

    def new_id(self) -> str:
        """Returns an id that no other attempt has."""
        return f"{self.run_id}{uuid4().hex[:16]}"


def _partition(context: Mapping[str, Any], name: str) -> Any:
    return context.get(name) or getattr(context.get("dag_run"), name, None)


def previous_success_at(context: Mapping[str, Any]) -> datetime | None:
    """Returns when the newest successful run before this one began, None if there is none."""
    found = context.get("prev_start_date_success")
    # A proxy of Airflow, which asks the API server at its first use; a proxy of None is not None.
    found = getattr(found, "__wrapped__", found)
    return None if found is None else datetime.fromisoformat(found.isoformat())
