"""Counts the activity a sensor waits for: records with an event time at or after a watermark.

Invariant: each record id counts once.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec

from airflow_audit_provider.core.api.query import AuditQuery
from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.core.limits import check_minimum_count
from airflow_audit_provider.core.paging.read_request import ReadRequest
from airflow_audit_provider.core.paging.window_reader import WindowReader
from airflow_audit_provider.core.windows.window import TimeWindow, format_instant, format_second, second_of, to_ns
from airflow_audit_provider.exceptions import ConfigurationError


class ActivityDemand(msgspec.Struct, frozen=True):
    """Condition that a sensor waits for: at least ``minimum_count`` records at or after ``since``."""

    since: datetime
    minimum_count: int = 1

    def __post_init__(self) -> None:
        check_minimum_count(self.minimum_count)
        if self.since.tzinfo is None:
            raise ConfigurationError(f"since {self.since.isoformat()} has no time zone. Add one, for example Z.")


class ActivityCount:
    """What one poll found for one sensor; it counts until ``is_enough``."""

    def __init__(self, demand: ActivityDemand) -> None:
        self.since, self.since_ns = demand.since, to_ns(demand.since)
        self._demand = demand
        self._record_count = 0
        self._first_ns: int | None = None
        self._last_ns: int | None = None

    @property
    def is_enough(self) -> bool:
        """Whether the minimum count is reached."""
        return self._record_count >= self._demand.minimum_count

    def add(self, records: Sequence[AuditRecord]) -> None:
        """Counts those of records that the sensor waits for; they are sorted by event time, oldest first."""
        wanted = records[bisect_left(records, self.since_ns, key=_event_ns) :]
        if wanted and not self.is_enough:
            self._first_ns = wanted[0].event_ns if self._first_ns is None else self._first_ns
            self._last_ns = wanted[-1].event_ns
            self._record_count += len(wanted)

    def summary(self) -> dict[str, Any]:
        """Returns plain values for XCom: the count so far, and the first and last event time seen, or None."""
        return {
            "since": format_instant(self._demand.since),
            "record_count": self._record_count,
            "first_event_at": _text(self._first_ns),
            "last_event_at": _text(self._last_ns),
        }


class ActivityPoll:
    """One poll for the sensors that wait for records of one query: reads each span of time once, as far as needed.

    Read each window reader of :meth:`window_readers` and add its records, until ``is_enough`` or its end.
    """

    def __init__(self, query: AuditQuery, demands: Sequence[ActivityDemand], now: datetime) -> None:
        self.counts = [ActivityCount(demand) for demand in demands]
        self._query = query
        self._now = now
        self._reached_ns: int | None = None

    def window_readers(self) -> Iterator[WindowReader]:
        """Yields readers from the earliest watermark up to now, oldest record first and one page at a time.

        A reader is stopped where the sensors that wait for its records have enough, and the next one starts at the
        watermark of the next sensor. A watermark that is not past is not read.
        """
        while unread := [count for count in self.counts if self._is_unread(count)]:
            first = min(unread, key=_since_ns)
            if first.since >= self._now:
                return
            self._reached_ns = None
            request = ReadRequest(self._query.version, TimeWindow(first.since, self._now), proves_empty=False)
            yield WindowReader(request, pages_per_cut=1)
            if not self.is_enough:
                return

    @property
    def is_enough(self) -> bool:
        """Whether every sensor with a watermark up to the last record has enough; nothing is enough before a record."""
        reached_ns = self._reached_ns
        if reached_ns is None:
            return False
        return all(count.is_enough for count in self.counts if count.since_ns <= reached_ns)

    def add(self, records: Sequence[AuditRecord]) -> None:
        """Adds the records of the current reader, sorted by event time, oldest first."""
        if records:
            self._reached_ns = records[-1].event_ns
            for count in self.counts:
                count.add(records)

    def _is_unread(self, count: ActivityCount) -> bool:
        return not count.is_enough and (self._reached_ns is None or count.since_ns > self._reached_ns)


def _since_ns(count: ActivityCount) -> int:
    return count.since_ns


def _event_ns(record: AuditRecord) -> int:
    return record.event_ns


def _text(event_ns: int | None) -> str | None:
    return None if event_ns is None else format_second(second_of(event_ns))
