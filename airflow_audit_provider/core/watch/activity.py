"""Counts the activity a sensor waits for: records with an event time at or after a watermark.

Invariant: each record id counts once.
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
    """Condition that a sensor waits for: at least ``minimum_count`` records of ``query`` at or after ``since``."""

    query: AuditQuery
    since: datetime
    minimum_count: int = 1

    def __post_init__(self) -> None:
        check_minimum_count(self.minimum_count)
        if self.since.tzinfo is None:
            raise ConfigurationError(f"since {self.since.isoformat()} has no time zone. Add one, for example Z.")


class ActivityCount:
    """One poll for activity: add the records its window reader returns, until ``is_enough``."""

    def __init__(self, activity: ActivityQuery, now: datetime) -> None:
        self._activity = activity
        self._now = now
        self._record_count = 0
        self._first_ns: int | None = None
        self._last_ns: int | None = None

    def window_reader(self) -> WindowReader | None:
        """Returns a reader of ``[since, now)``, oldest first and one page at a time; None if ``since`` is not past."""
        since = self._activity.since
        if since >= self._now:
            return None
        window = TimeWindow(since, self._now)
        return WindowReader(ReadRequest(self._activity.query.version, window, proves_empty=False), pages_per_cut=1)

    @property
    def is_enough(self) -> bool:
        """Whether the minimum count is reached."""
        return self._record_count >= self._activity.minimum_count

    @property
    def is_complete(self) -> bool:
        """Whether the next poll waits for the interval: always, because the sensor ends as soon as it has enough."""
        return True

    def add(self, records: Sequence[AuditRecord]) -> None:
        """Counts records, sorted by event time, oldest first."""
        if records:
            self._first_ns = records[0].event_ns if self._first_ns is None else self._first_ns
            self._last_ns = records[-1].event_ns
            self._record_count += len(records)

    def summary(self) -> dict[str, Any]:
        """Returns plain values for XCom: the count so far, and the first and last event time seen, or None."""
        return {
            "since": format_instant(self._activity.since),
            "record_count": self._record_count,
            "first_event_at": _text(self._first_ns),
            "last_event_at": _text(self._last_ns),
        }


def _text(event_ns: int | None) -> str | None:
    return None if event_ns is None else format_second(second_of(event_ns))
