"""Keeps records that were received before their range is complete, until that range is read.

A page goes on past the place where its reader is cut, and past the end of its slice. Those records are requested again,
but the second response may lack them: a replica that is behind answers it, or a record has expired. A record that was
received once is never dropped for that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from airflow_audit_provider.core.api.read_stats import ReadStats
from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.core.windows.window import TimeWindow


class SurplusRecords:
    """Records received early, each id once."""

    def __init__(self) -> None:
        # The flag states whether the statistics count the record as outside of its window, or else as repeated.
        self._records: dict[str, tuple[AuditRecord, bool]] = {}

    def add(self, records: Iterable[AuditRecord], window: TimeWindow, *, are_outside: bool) -> None:
        """Adds the records that lie in ``window``, which is still to be read."""
        start_ns, end_ns = window.start_ns, window.end_ns
        for record in records:
            if start_ns <= record.event_ns < end_ns:
                self._records.setdefault(record.id, (record, are_outside))

    def add_all(self, other: SurplusRecords) -> None:
        """Adds the records of another reader."""
        for record_id, entry in other._records.items():
            self._records.setdefault(record_id, entry)

    def take_missing(
        self, window: TimeWindow, was_read: Callable[[AuditRecord], bool], stats: ReadStats
    ) -> list[AuditRecord]:
        """Removes the records of a window that is read now; returns those that reading it did not show again.

        Their count moves in ``stats`` from outside or repeated records to delivered ones.
        """
        start_ns, end_ns, missing = window.start_ns, window.end_ns, []
        for record, is_outside in list(self._records.values()):
            if not start_ns <= record.event_ns < end_ns:
                continue
            del self._records[record.id]
            if not was_read(record):
                missing.append(record)
                stats.outside_count -= is_outside
                stats.repeated_count -= not is_outside
        return missing
