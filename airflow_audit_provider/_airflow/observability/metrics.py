"""What a pull did as Airflow's metrics: names that never change, tags of few values.

Knows: Airflow's ``Stats``. Must not know: which backend takes them, or whether one does.
Its one rule: a name is a literal, and what differs from run to run is a tag; ids are neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import Stats

_PREFIX = "cloudflare_audit_logs"


class Metrics:
    """Counts and timings under ``cloudflare_audit_logs.``, each with the tags given; may be used by several threads."""

    def __init__(self, tags: Mapping[str, str]) -> None:
        self._tags = dict(tags)
        self._stats: Any = Stats

    def add(self, name: str, count: float, **tags: str) -> None:
        """Add to a counter; adding nothing sends nothing."""
        if count:
            self._stats.incr(f"{_PREFIX}.{name}", count, tags={**self._tags, **tags})

    def time(self, name: str, seconds: float, **tags: str) -> None:
        """Report how long something took."""
        self._stats.timing(f"{_PREFIX}.{name}", timedelta(seconds=seconds), tags={**self._tags, **tags})
