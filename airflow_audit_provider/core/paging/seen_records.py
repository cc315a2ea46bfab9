"""Records and pages that one paginator has seen: deduplicates by id and tracks how far in time reading has come.

A *signed second* is a whole second since the epoch times ``sign``, which is 1 when reading in ascending order and -1 in
descending order. A position further along in the reading direction is therefore always the greater number.

Invariant: an id stands for one record. A record that arrives again under a known id is the same, or a conflict.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from airflow_audit_provider.core.api.records import AuditRecord, is_same_record


class SeenRecords:
    """Records seen by one paginator, in the order of their first arrival.

    ``last_record_second`` is the furthest signed second of a record. ``furthest_second`` is the signed second that
    reading has reached; it may lie past the last record where a range is known to be empty, and only seconds before it
    are complete. ``conflict`` is a record that arrived under the id of a different one.
    """

    def __init__(self, sign: int, furthest_second: int | None = None) -> None:
        self.seen_count = 0
        self.furthest_second = furthest_second
        self.last_record_second: int | None = None
        self.conflict: AuditRecord | None = None
        self._sign = sign
        self._records: dict[str, AuditRecord] = {}

    def __contains__(self, record: AuditRecord) -> bool:
        return record.id in self._records

    def __len__(self) -> int:
        return len(self._records)

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of all records, in the order of their first arrival."""
        return tuple(self._records)

    def records_from(self, signed_second: int) -> list[AuditRecord]:
        """Returns the records from a signed second on, in the order of their first arrival."""
        return [record for record in self._records.values() if self.signed_second(record) >= signed_second]

    def last_records(self) -> list[AuditRecord]:
        """Returns the records of the furthest second that has any."""
        return [] if self.last_record_second is None else self.records_from(self.last_record_second)

    @property
    def repeated_count(self) -> int:
        """Number of rows that repeated a known record."""
        return self.seen_count - len(self._records)

    def second_of(self, record_id: str) -> int:
        """Returns the signed second of a known record."""
        return self.signed_second(self._records[record_id])

    def signed_second(self, record: AuditRecord) -> int:
        """Returns the signed second of a record's event time."""
        return self._sign * record.event_second

    def add(self, records: Sequence[AuditRecord]) -> list[AuditRecord]:
        """Adds the rows of a page and returns the records that are new, in order of arrival."""
        new_records = []
        known = self._records
        for record in records:
            if record.id not in known:
                known[record.id] = record
                new_records.append(record)
            elif known[record.id] != record:
                self.compare(record)
        self.seen_count += len(records)
        return new_records

    def compare(self, record: AuditRecord) -> None:
        """Sets ``conflict`` if a different record is known under the same id."""
        known = self._records.get(record.id)
        if known is not None and not is_same_record(known, record):
            self.conflict = record

    def advance(self, records: Sequence[AuditRecord]) -> None:
        """Moves the reached second to that of the last record, if it is further."""
        if records:
            last = self.signed_second(records[-1])
            self.last_record_second = last if self.last_record_second is None else max(self.last_record_second, last)
            self.furthest_second = last if self.furthest_second is None else max(self.furthest_second, last)

    def count_at_furthest_second(self) -> int:
        """Returns the number of records in the reached second."""
        return sum(self.signed_second(record) == self.furthest_second for record in self._records.values())


class PageContinuity:
    """Checks that consecutive pages of one query continue each other.

    ``ids`` are the ids of all its pages so far, in order. ``cursor`` is the cursor of the next page, if one is being
    followed.
    """

    def __init__(self, signed_second: Callable[[AuditRecord], int]) -> None:
        self.ids: dict[str, None] = {}
        self.cursor: str | None = None
        self._signed_second = signed_second
        self._used_cursors: set[str] = set()
        self._last_second: int | None = None

    def accepts(self, records: Sequence[AuditRecord]) -> bool:
        """Adds a page; returns whether it repeats no row and starts no earlier than the previous page ended.

        It is not documented whether a cursor reads a snapshot. Where the rows of one query move between two pages, a
        row can move into a page that was already read, so a page that does not continue the previous one may hide rows.
        """
        ids = dict.fromkeys([record.id for record in records])
        continues = ids.keys().isdisjoint(self.ids)
        if records:
            continues &= self._last_second is None or self._signed_second(records[0]) >= self._last_second
            self._last_second = self._signed_second(records[-1])
        self.ids |= ids
        return continues

    def follow(self, cursor: str) -> bool:
        """Sets the cursor of the next page; returns whether it has not been used before."""
        is_new = cursor not in self._used_cursors
        self._used_cursors.add(cursor)
        self.cursor = cursor
        return is_new


def is_sorted(records: Sequence[AuditRecord], sign: int) -> bool:
    """Returns whether whole seconds run in the direction of ``sign``.

    The documentation does not name the precision of the API's sort order, so records of one second may come in any.
    """
    times = [sign * record.event_ns for record in records]
    if times == sorted(times):
        return True
    seconds = [sign * record.event_second for record in records]
    return seconds == sorted(seconds)
