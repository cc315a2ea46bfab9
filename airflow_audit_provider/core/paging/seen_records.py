"""What a walk has seen: records, counts, and how far in time it has come.

Knows: records and the direction they come in. Must not know: pages, queries, when to stop.
Its one rule: an id counts once, and what comes again under it must be the same record; time only moves on.
"""

from __future__ import annotations

from collections.abc import Sequence

from airflow_audit_provider.core.api.records import AuditRecord, says_the_same


class SeenRecords:
    """Remembers the records of one walk; ``sign`` is 1 when time moves up, -1 when it moves down.

    Places in time are whole seconds times ``sign``, so that "further" is always "greater". ``furthest`` is
    the place of a record; ``reach`` may lie past it, where a walk knows that there is none. ``conflict`` is a record
    that came under the id of another.
    """

    def __init__(self, sign: int, reach: int | None = None) -> None:
        self.seen_count = 0
        self.reach = reach
        self.furthest: int | None = None
        self.conflict: AuditRecord | None = None
        self._sign = sign
        self._records: dict[str, AuditRecord] = {}

    def __contains__(self, record: AuditRecord) -> bool:
        return record.id in self._records

    def __len__(self) -> int:
        return len(self._records)

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all records, in the order they came first."""
        return tuple(self._records)

    @property
    def repeated_count(self) -> int:
        """How many records came that had come before."""
        return self.seen_count - len(self._records)

    def place_of(self, record: AuditRecord) -> int:
        """Return a record's place in time."""
        return self._sign * record.event_second

    def add(self, records: Sequence[AuditRecord]) -> list[AuditRecord]:
        """Remember records; return those not seen before, in the order they came."""
        fresh = []
        known = self._records
        for record in records:
            if record.id not in known:
                known[record.id] = record
                fresh.append(record)
            elif known[record.id] != record:
                self.compare(record)
        self.seen_count += len(records)
        return fresh

    def compare(self, record: AuditRecord) -> None:
        """Note a record that is another than the known one of the same id."""
        known = self._records.get(record.id)
        if known is not None and not says_the_same(known, record):
            self.conflict = record

    def advance(self, records: Sequence[AuditRecord]) -> None:
        """Move the reach to the last record's place, if that is further."""
        if records:
            last = self.place_of(records[-1])
            self.furthest = last if self.furthest is None else max(self.furthest, last)
            self.reach = last if self.reach is None else max(self.reach, last)

    def count_at_reach(self) -> int:
        """Return how many records lie in the reached second."""
        return sum(self.place_of(record) == self.reach for record in self._records.values())


def is_sorted(records: Sequence[AuditRecord], sign: int) -> bool:
    """Say whether whole seconds run in the direction of ``sign``; a server may sort no finer than that."""
    times = [sign * record.event_ns for record in records]
    if times == sorted(times):
        return True
    places = [sign * record.event_second for record in records]
    return places == sorted(places)
