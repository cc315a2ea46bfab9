"""A run's context, whatever started the run, as plain bounds.

Knows: the keys of Airflow's task context. Must not know: which of them decides (``core.run_window``).
Its one rule: every key may be missing; asset-triggered and manual runs have almost none.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow_audit_provider.core.run_window import Bound, RunBounds


def run_bounds(
    context: Mapping[str, Any],
    window_start: Bound,
    window_end: Bound,
    window_length: timedelta | None,
    timezone: str,
) -> RunBounds:
    """Return what a run and the operator's arguments say about the window."""
    return RunBounds(
        window_start=window_start,
        window_end=window_end,
        window_length=window_length,
        timezone=timezone,
        partition_date=context.get("partition_date"),
        partition_key=context.get("partition_key"),
        data_interval_start=context.get("data_interval_start"),
        data_interval_end=context.get("data_interval_end"),
    )
