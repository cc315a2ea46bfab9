"""Is there new activity? What a sensor and its trigger decide by.

Knows: a watermark, a minimum count, and what was found so far.
Must not know: how records are read, whether the caller blocks.
Its one rule: activity is a record whose event time is at or after the watermark, each id once.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from airflow_audit_provider.core.api.query import AuditQuery
from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.core.limits import check_minimum_count
from airflow_audit_provider.core.paging.read_request import ReadRequest
from airflow_audit_provider.core.paging.window_reader import WindowReader
from airflow_audit_provider.core.windows.window import TimeWindow, format_instant, format_second, second_of
from airflow_audit_provider.exceptions import ConfigurationError


class ActivityQuery(msgspec.Struct, frozen=True):
    """What to look for: records of ``query`` from ``since`` (inclusive) on, at least ``minimum_count`` of them."""

    query: AuditQuery
    since: datetime
    minimum_count: int = 1

    def __post_init__(self) -> None:
        check_minimum_count(self.minimum_count)
        if self.since.tzinfo is None:
            raise ConfigurationError(f"since {self.since.isoformat()} has no time zone. Give it one, such as Z.")

    def reading(self, now: datetime) -> WindowReader | None:
        """Return what to read at this time, oldest first and a page at a time; None while nothing can be new."""
        if self.since >= now:
            return None
        return WindowReader(ReadRequest(self.query.version, TimeWindow(self.since, now)), pages_per_cut=1)


class ActivityCount:
    """What was found of a watch so far."""

    def __init__(self, watch: ActivityQuery) -> None:
        self._watch = watch
        self._record_count = 0
        self._first_ns: int | None = None
        self._last_ns: int | None = None

    @property
    def is_enough(self) -> bool:
        """Whether the minimum count is reached."""
        return self._record_count >= self._watch.minimum_count

    def add(self, records: Sequence[AuditRecord]) -> None:
        """Count records, which come sorted by event time, oldest first."""
        if records:
            self._first_ns = records[0].event_ns if self._first_ns is None else self._first_ns
            self._last_ns = records[-1].event_ns
            self._record_count += len(records)

    def summary(self) -> dict[str, Any]:
        """Return plain values for an XCom: count so far, and the first and last event time seen, or None."""
        return {
            "since": format_instant(self._watch.since),
            "record_count": self._record_count,
            "first_event_at": _text(self._first_ns),
            "last_event_at": _text(self._last_ns),
        }


def _text(event_ns: int | None) -> str | None:
    return None if event_ns is None else format_second(second_of(event_ns))
