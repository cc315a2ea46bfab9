"""What a walk has seen: ids, counts, and how far in time it has come.

Knows: records and the direction they come in. Must not know: pages, queries, when to stop.
Its one rule: an id counts once; time only moves on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from airflow_audit_provider.core.records import AuditRecord
from airflow_audit_provider.core.window import SECOND_NS


class Ledger:
    """Remembers the records of one walk; ``sign`` is 1 when time moves up, -1 when it moves down.

    Places in time are whole seconds times ``sign``, so that "further" is always "greater".
    """

    def __init__(self, sign: int) -> None:
        self.seen_count = 0
        self.reach: int | None = None
        self.pass_reach: int | None = None
        self._sign = sign
        self._places: dict[str, int] = {}

    def __contains__(self, record: AuditRecord) -> bool:
        return record.id in self._places

    @property
    def repeated_count(self) -> int:
        """How many records came that had come before."""
        return self.seen_count - len(self._places)

    def place_of(self, record: AuditRecord) -> int:
        """Return a record's place in time."""
        return self._sign * (record.event_ns // SECOND_NS)

    def absorb(self, records: Sequence[AuditRecord]) -> list[AuditRecord]:
        """Remember records; return those not seen before, in the order they came."""
        fresh = []
        known, sign = self._places, self._sign
        for record in records:
            if record.id not in known:
                known[record.id] = sign * (record.event_ns // SECOND_NS)
                fresh.append(record)
        self.seen_count += len(records)
        return fresh

    def follows(self, records: Sequence[AuditRecord]) -> bool:
        """Say whether a page begins no earlier than the page before it in the same pass ended."""
        return not records or self.pass_reach is None or self.place_of(records[0]) >= self.pass_reach

    def advance(self, records: Sequence[AuditRecord]) -> None:
        """Move the reach to the last record's place, if that is further."""
        if records:
            self.pass_reach = last = self.place_of(records[-1])
            self.reach = last if self.reach is None else max(self.reach, last)

    def count_at_reach(self) -> int:
        """Return how many records lie in the reached second."""
        return Counter(self._places.values())[self.reach] if self.reach is not None else 0


def is_sorted(records: Sequence[AuditRecord], sign: int) -> bool:
    """Say whether whole seconds run in the direction of ``sign``; a server may sort no finer than that."""
    places = [sign * (record.event_ns // SECOND_NS) for record in records]
    return places == sorted(places)
