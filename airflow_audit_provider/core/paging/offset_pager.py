"""One crowded instant, read by page numbers: version 1's only way where time cannot advance.

Knows: which ids one pass over a short range has brought. Must not know: the window, what lies outside the range.
Its one rule: the end is an empty page right behind as many rows as there are ids; then no row can be missing, however
the server orders ties, even if it orders them anew for every request. One empty answer is not believed by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from airflow_audit_provider.core.api.records import AuditRecord


def overlapping_page(read_count: int, row_limit: int) -> tuple[int, int]:
    """Return the (page, page size) that starts before ``read_count`` rows, shares at least one, and reaches furthest.

    Pages count from 1; ``read_count`` and ``row_limit`` are at least 1. The size is at most ``row_limit`` and more than
    its half; where no such size reaches past ``read_count``, the exact next row is asked for: size 1, nothing shared.
    """

    def end_of(row_count: int) -> int:
        return ((read_count - 1) // row_count + 1) * row_count

    size = max(range(row_limit, row_limit // 2, -1), key=end_of)
    if end_of(size) <= read_count:
        return read_count + 1, 1
    return end_of(size) // size, size


_RESTART_LIMIT = 3
_BARREN_LIMIT = 20
_EMPTY_PAGES_BELIEVED = 2


class OffsetPager:
    """Drive it by ``page_and_size`` and ``take`` until ``is_done`` or ``trouble``.

    ``first`` are the ids of the range's first page, ``row_limit`` the most rows a page was seen to hold.
    ``seems_whole`` says that the other side showed nothing else either; only then is a 400 behind the rows the end.
    """

    def __init__(self, first: Iterable[str], row_limit: int, *, seems_whole: bool) -> None:
        self.is_done = False
        self.trouble: str | None = None
        self._ids = set(first)
        self._row_limit = max(1, row_limit)
        self._seems_whole = seems_whole
        self._asks_exactly = seems_whole
        self._restart_count = 0
        self._barren_count = 0
        self._empty_count = 0

    def page_and_size(self) -> tuple[int, int]:
        """Return the next page to ask for: one that shares a row with those read, or exactly the next row."""
        if not self._ids:
            return 1, self._row_limit
        if self._asks_exactly:
            return len(self._ids) + 1, 1
        return overlapping_page(len(self._ids), self._row_limit)

    def receive(self, records: Sequence[AuditRecord]) -> None:
        """Take the asked page in."""
        page, size = self.page_and_size()
        ids = {record.id for record in records}
        overlaps = (page - 1) * size < len(self._ids)
        if not ids and not self._ids:
            # Its first page was full once.
            self._restart()
        elif not ids and not overlaps:
            self._empty_count += 1
            self.is_done = self._seems_whole or self._empty_count >= _EMPTY_PAGES_BELIEVED
        elif overlaps and ids.isdisjoint(self._ids):
            self._restart()
        elif ids <= self._ids:
            self._note_barren()
        else:
            self._ids |= ids
            self._seems_whole = self._asks_exactly = False
            self._barren_count = self._empty_count = 0

    def receive_refusal(self) -> None:
        """Take a 400 in: the end if everything looked like it before, else the depth the API allows."""
        if self._seems_whole:
            self.is_done = True
        else:
            self.trouble = f"the API answers 400 to page {self.page_and_size()[0]} of one instant"

    def _restart(self) -> None:
        """No row is shared with the pages before: the list moved, so read it again from its first page."""
        self._ids, self._empty_count = set(), 0
        self._restart_count += 1
        if self._restart_count > _RESTART_LIMIT:
            self.trouble = "the list of one instant keeps moving while it is read"

    def _note_barren(self) -> None:
        """Nothing new behind the shared rows: the end, or a server that sends less than asked for."""
        self._asks_exactly, self._empty_count = True, 0
        self._barren_count += 1
        if self._barren_count > _BARREN_LIMIT:
            self.trouble = "the rows of one instant change places while they are read"
