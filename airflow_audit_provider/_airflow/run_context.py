"""A run's context, whatever started the run, as plain bounds.

Knows: the keys of Airflow's task context. Must not know: which of them decides (``core.run_window``).
Its one rule: every key may be missing; asset-triggered and manual runs have almost none. Airflow 3.2 tells a run's
partition only by its ``dag_run``, Airflow 3.3 by the context too.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

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
    """Return what a run and the operator's arguments say about the window."""
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


def _partition(context: Mapping[str, Any], name: str) -> Any:
    return context.get(name) or getattr(context.get("dag_run"), name, None)
