"""Airflow metrics of a run, under the prefix ``cloudflare_audit_logs``.

Invariant: names are literals and tags have few values, because each combination is a time series; ids are in neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import Stats

_PREFIX = "cloudflare_audit_logs"


class Metrics:
    """Sends counters, timers and gauges with the same tags; safe to use from several threads."""

    def __init__(self, tags: Mapping[str, str]) -> None:
        self._tags = dict(tags)
        self._stats: Any = Stats

    def add(self, name: str, count: float, **tags: str) -> None:
        """Adds to a counter; a count of 0 is not sent."""
        if count:
            self._stats.incr(f"{_PREFIX}.{name}", count, tags={**self._tags, **tags})

    def time(self, name: str, seconds: float, **tags: str) -> None:
        """Sends a duration in seconds."""
        self._stats.timing(f"{_PREFIX}.{name}", timedelta(seconds=seconds), tags={**self._tags, **tags})

    def set(self, name: str, value: float, **tags: str) -> None:
        """Sends the present value of a gauge."""
        self._stats.gauge(f"{_PREFIX}.{name}", value, tags={**self._tags, **tags})
