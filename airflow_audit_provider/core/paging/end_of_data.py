"""How an end is proved: what a page, and the answer from the other side, are worth as evidence.

Knows: how servers have been seen to cut their answers. Must not know: edges, what is asked for next.
Its one rule: only what a server that hides a row could not have sent is a proof.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum

from airflow_audit_provider.core.api.records import AuditRecord


class PageContinuity:
    """``ids`` are those of all its pages, ``cursor`` is the one to follow next; ``place_of`` tells a record's place."""

    def __init__(self, place_of: Callable[[AuditRecord], int]) -> None:
        self.ids: set[str] = set()
        self.cursor: str | None = None
        self._place_of = place_of
        self._cursors_used: set[str] = set()
        self._reach: int | None = None

    def accepts(self, records: Sequence[AuditRecord]) -> bool:
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


# Version 2 has been seen never to send more than 100 rows whatever was asked: a round page may be a ceiling.
_CEILING_STEP = 100
# So few rows come back in exactly the opposite order by chance once in three million times.
MIRROR_ROWS = 10
# An id is 36 characters: a hundred of them make a URL of five thousand, which every server takes.
MOST_LEFT_OUT = 100


class StopReason(StrEnum):
    """The rules by which a walk may end."""

    EMPTY_PAGE = "empty page"
    NO_CURSOR = "no cursor"
    REFUSED = "a 400 behind what looked whole"
    OTHER_SIDE = "read from the other side"
    NOTHING_ELSE = "nothing but the known rows of one second"
    CROSSED = "a row past the window's end"
    CUT = "cut where time had advanced"


class PageSizes:
    """The sizes of a walk's pages; ``largest`` is the most rows one had."""

    def __init__(self) -> None:
        self.largest = 0

    def may_be_capped(self, row_count: int, asked_count: int) -> bool:
        """Say whether a page may have been cut rather than have ended; note its size."""
        capped = row_count in (self.largest, asked_count) or row_count % _CEILING_STEP == 0
        self.largest = max(self.largest, row_count)
        return capped


def is_mirrored(ids_in_order: Sequence[str], from_other_side: Iterable[AuditRecord]) -> bool:
    """Say whether the other side begins with the row that came last here, and goes on in exactly the opposite order.

    A server that orders one second so cannot hide a row behind the last one. Too few rows show no order.
    """
    shown = [record.id for record in from_other_side]
    return len(shown) >= MIRROR_ROWS and shown == list(ids_in_order[: -len(shown) - 1 : -1])
