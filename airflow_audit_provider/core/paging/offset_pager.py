"""Reads one crowded second by page numbers, which is version 1's only way on where time cannot advance.

Offset paging repeats rows when late records push them down between two requests, and loses rows when expiring records
pull them up. Each page is therefore chosen to overlap the rows already read; a page that shares no row with them shows
that the list has moved.

Invariant: the end is an empty page directly after as many rows as there are known ids. Then no row can be missing, even
if the server sorts the rows of one second differently for every request. One empty page alone is not accepted. Where
the API refuses that page with status 400, the list is read from its other end until it has shown the last known rows in
exactly the opposite order: nothing can lie behind them, and what a maximum depth hid has been read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.core.paging.end_of_data import MIN_MIRRORED_ROWS, StopReason

_MAX_RESTARTS = 3
_MAX_PAGES_WITHOUT_NEW_ROWS = 20
_EMPTY_PAGES_REQUIRED = 2
_KNOWN_NEXT_ROWS_ALLOWED = 3


class OffsetPager:
    """Reads a short range by page numbers; drive it by ``page_and_size`` and ``receive``.

    It ends with ``is_done``, or with a ``problem``: the reason why the range cannot be read completely.

    ``first_ids`` are the ids of the range's first page and ``row_limit`` is the most rows that a page had.
    ``probe_agrees`` states that the probe showed no other rows either. Only then is a status 400 after the known rows
    accepted as the end, and one empty page sufficient.
    """

    def __init__(self, first_ids: Iterable[str], row_limit: int, *, probe_agrees: bool) -> None:
        self.is_done = self.is_opposite = False
        self.stop_reason = StopReason.EMPTY_PAGE
        self.problem: str | None = None
        self._ids = dict.fromkeys(first_ids)
        self._opposite_ids: dict[str, None] = {}
        self._row_limit = max(1, row_limit)
        self._probe_agrees = probe_agrees
        self._requests_next_row = probe_agrees
        self._restart_count = 0
        self._pages_without_new_rows = self._known_next_row_count = 0
        self._empty_page_count = 0

    def page_and_size(self) -> tuple[int, int]:
        """Returns the next (page, page size): a page that overlaps the rows read, or exactly the next row."""
        if self.is_opposite:
            known_count = len(self._opposite_ids)
            return overlapping_page(known_count, self._row_limit) if known_count else (1, self._row_limit)
        if not self._ids:
            return 1, self._row_limit
        if self._requests_next_row:
            return len(self._ids) + 1, 1
        return overlapping_page(len(self._ids), self._row_limit)

    def receive(self, records: Sequence[AuditRecord]) -> None:
        """Adds the rows of the requested page."""
        page, size = self.page_and_size()
        ids = dict.fromkeys([record.id for record in records])
        if self.is_opposite:
            self._receive_opposite(ids)
            return
        overlaps = (page - 1) * size < len(self._ids)
        if not ids and not self._ids:
            # The first page was not empty the first time, so the list is moving.
            self._restart()
        elif not ids and not overlaps:
            self._empty_page_count += 1
            self.is_done = self._probe_agrees or self._empty_page_count >= _EMPTY_PAGES_REQUIRED
        elif overlaps and ids.keys().isdisjoint(self._ids):
            self._restart()
        elif ids.keys() <= self._ids.keys():
            self._receive_only_known_rows()
        else:
            self._ids |= ids
            self._probe_agrees = self._requests_next_row = False
            self._pages_without_new_rows = self._empty_page_count = 0

    def receive_refusal(self) -> None:
        """Handles a status 400: the end if the probe agreed, else a reason to read from the other end.

        Status 400 was observed for the page after the last full one. Whether that means "past the end" or a maximum
        depth is not documented: the API docs name no maximum for `page`.
        """
        if self._probe_agrees:
            self.is_done, self.stop_reason = True, StopReason.REFUSED
        elif self.is_opposite or len(self._ids) < MIN_MIRRORED_ROWS:
            self.problem = f"the API returned status 400 for page {self.page_and_size()[0]} of one second"
        else:
            self.is_opposite = True

    def _receive_opposite(self, ids: dict[str, None]) -> None:
        """Adds a page from the other end; ends where it shows the last known rows in exactly the opposite order."""
        known = self._opposite_ids
        if (known and ids.keys().isdisjoint(known)) or ids.keys() <= known.keys():
            self.problem = "the API returned status 400 behind a crowded second, and its other end cannot be read"
            return
        known |= ids
        shown = list(known)
        start = next((index for index, record_id in enumerate(shown) if record_id in self._ids), len(shown))
        mirrored = list(reversed(self._ids))[: len(shown) - start]
        if shown[start:] != mirrored:
            self.problem = "the API returned status 400 behind a crowded second that it does not list alike both ways"
        elif len(mirrored) >= MIN_MIRRORED_ROWS:
            self.is_done, self.stop_reason = True, StopReason.OTHER_SIDE

    def _restart(self) -> None:
        """Starts again from the first page, because the list has moved."""
        self._ids, self._requests_next_row = {}, False
        self._empty_page_count = self._known_next_row_count = 0
        self._restart_count += 1
        if self._restart_count > _MAX_RESTARTS:
            self.problem = "the list of one second keeps changing while it is read"

    def _receive_only_known_rows(self) -> None:
        """Requests exactly the next row: the end is reached, or the server returned fewer rows than requested.

        A known row in that place shows that the list has a row more than there are ids. It is a late record, which
        pushed the others down, unless the server changes the order for every request: then another one may show it.
        """
        self._known_next_row_count += self._requests_next_row
        self._requests_next_row, self._empty_page_count = True, 0
        self._pages_without_new_rows += 1
        if self._pages_without_new_rows > _MAX_PAGES_WITHOUT_NEW_ROWS:
            self.problem = "the rows of one second keep changing their order while they are read"
        elif self._known_next_row_count >= _KNOWN_NEXT_ROWS_ALLOWED:
            self._restart()


def overlapping_page(read_count: int, row_limit: int) -> tuple[int, int]:
    """Returns the (page, page size) that starts before ``read_count`` rows, shares at least one and extends furthest.

    Pages count from 1; ``read_count`` and ``row_limit`` are at least 1. The size is at most ``row_limit`` and more than
    half of it. If no such size extends past ``read_count``, returns the page that is exactly the next row, with size 1.
    """

    def end_of(row_count: int) -> int:
        return ((read_count - 1) // row_count + 1) * row_count

    size = max(range(row_limit, row_limit // 2, -1), key=end_of)
    if end_of(size) <= read_count:
        return read_count + 1, 1
    return end_of(size) // size, size
