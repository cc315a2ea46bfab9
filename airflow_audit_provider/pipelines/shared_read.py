"""Reads adjoining windows in one go, and hands each window its own records.

::

    windows        |--- day 1 ---|--- day 2 ---|--- day 3 ---|--- day 4 ---|
    sections      |---------------------|-----------|---------------------|
                                         ▲ everything before it is read, so day 1 is complete

A page at the border of two windows has records of both, and is requested once. What is read is one window to the page
protocol, so nothing of it is weaker here: a window is complete when a section ends at or after its end.

A record without a time of its own is placed by the records around it, and a window that is read alone may place it
differently than its neighbour does. Therefore such a record ends the shared read, before it is delivered.

Invariant: a window is delivered whole, or its source raises. The statistics of the windows add up to those of the
shared read, except for ``ended_by``: a section that several windows share counts in each of them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from datetime import datetime
from typing import Protocol

from airflow_audit_provider.adapters.cloudflare.parallel import ParallelReader, Section
from airflow_audit_provider.core.api.read_stats import ReadStats
from airflow_audit_provider.core.api.records import AuditRecord, has_odd, is_undated
from airflow_audit_provider.core.paging.end_of_data import StopReason
from airflow_audit_provider.core.windows.window import TimeWindow


class RecordSource(Protocol):
    """Records of one window, in order; ``stats`` is what reading them has cost so far."""

    stats: ReadStats

    def read(self) -> Iterator[list[AuditRecord]]:
        """Yields the records in groups that are never empty."""
        ...


class UndatedRecordError(Exception):
    """A record without a time of its own was read: its window has to be read alone. Never leaves the pipelines."""


class SharedRead:
    """Reads windows that follow each other without a gap; close it after the last one, or after an error."""

    def __init__(self, parallel: ParallelReader) -> None:
        self._sections = parallel.sections()
        self._section: Section | None = None
        self._records: list[AuditRecord] = []
        self.is_closed = False

    def window(self, window: TimeWindow) -> RecordSource:
        """Returns the records of a window; records of windows before it are not available any more."""
        return _WindowOfMany(self, window)

    def close(self) -> None:
        """Ends the read; no further request is sent."""
        self.is_closed = True
        self._sections.close()

    def section_after(self, instant: datetime, stats: ReadStats) -> Section:
        """Returns the section that contains an instant; adds what reading it costs to ``stats``.

        Raises ``UndatedRecordError`` before a record without a time of its own is delivered.
        """
        while self._section is None or self._section.window.end <= instant:
            self._section = next(self._sections)
            self._records = self._section.records
            if has_odd(self._records) and any(map(is_undated, self._records)):
                raise UndatedRecordError
            _add_cost(stats, self._section.stats)
        return self._section

    def take(self, window: TimeWindow) -> list[AuditRecord]:
        """Returns the records of a window in the current section, and forgets them and those before it."""
        first = bisect_left(self._records, window.start_ns, key=_event_ns)
        behind = bisect_left(self._records, window.end_ns, key=_event_ns)
        taken, self._records = self._records[first:behind], self._records[behind:]
        return taken


class _WindowOfMany:
    """The records of one window of a shared read."""

    def __init__(self, shared: SharedRead, window: TimeWindow) -> None:
        self.stats = ReadStats()
        self._shared = shared
        self._window = window

    def read(self) -> Iterator[list[AuditRecord]]:
        """Yields the records in order; returns once everything before the end of the window is read."""
        read_until = self._window.start
        while read_until < self._window.end:
            section = self._shared.section_after(read_until, self.stats)
            read_until = section.window.end
            self._note_end(section)
            records = self._shared.take(self._window)
            self.stats.seen_count += len(records)
            if records:
                yield records

    def _note_end(self, section: Section) -> None:
        is_complete = section.window.end >= self._window.end
        for reason, count in section.stats.ended_by.items():
            # A paginator is cut at the second of a row that it has seen, so there is a row past the window's end.
            stated = StopReason.PAST_WINDOW if is_complete and reason == StopReason.CUT else reason
            self.stats.ended_by[stated] = self.stats.ended_by.get(stated, 0) + count


def _add_cost(stats: ReadStats, cost: ReadStats) -> None:
    """Adds what a section costs, without its own records: they count where they are delivered."""
    stats.request_count += cost.request_count
    stats.retry_count += cost.retry_count
    stats.page_count += cost.page_count
    stats.throttled_seconds += cost.throttled_seconds
    # A row that an earlier section received and this one did not show again is taken off here and counted there.
    outside_count, repeated_count = max(0, cost.outside_count), max(0, cost.repeated_count)
    stats.outside_count += outside_count
    stats.repeated_count += repeated_count
    stats.seen_count += outside_count + repeated_count


def _event_ns(record: AuditRecord) -> int:
    return record.event_ns
