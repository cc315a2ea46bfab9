"""One pass over the same edges: pages that have to join on, and cursors that must not come again.

Knows: the ids, the place in time and the cursors of one pass. Must not know: edges, ends, what is asked next.
Its one rule: where two pages of a pass share a row or do not follow each other, the list has moved and is not trusted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from airflow_audit_provider.core.records import AuditRecord


class Pass:
    """``ids`` are those of all its pages, ``cursor`` is the one to follow next; ``place_of`` tells a record's place."""

    def __init__(self, place_of: Callable[[AuditRecord], int]) -> None:
        self.ids: set[str] = set()
        self.cursor: str | None = None
        self._place_of = place_of
        self._cursors_used: set[str] = set()
        self._reach: int | None = None

    def joins(self, records: Sequence[AuditRecord]) -> bool:
        """Take a page in; say whether it shares no row with those before and begins no earlier than the last ended."""
        ids = {record.id for record in records}
        joins = ids.isdisjoint(self.ids)
        if records:
            joins = joins and (self._reach is None or self._place_of(records[0]) >= self._reach)
            self._reach = self._place_of(records[-1])
        self.ids |= ids
        return joins

    def follow(self, cursor: str) -> bool:
        """Take the next page's cursor; say whether it is a new one."""
        is_new = cursor not in self._cursors_used
        self._cursors_used.add(cursor)
        self.cursor = cursor
        return is_new
