"""Reads one crowded second by page numbers, which is version 1's only way on where time cannot advance.

Offset paging repeats rows when late records push them down between two requests, and loses rows when expiring records
pull them up. Each page is therefore chosen to overlap the rows already read; a page that shares no row with them shows
that the list has moved.

Invariant: the end is an empty page directly after as many rows as there are known ids. Then no row can be missing, even
if the server sorts the rows of one second differently for every request. One empty page alone is not accepted. Where
the API refuses that page with status 400, a row outside of the second proves the same: it directly follows as many rows
as are known, in a longer list. Where no such row is shown, the list is read from its other end until it has shown the
last known rows in exactly the opposite order: nothing can lie behind them, and what a maximum depth hid has been read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

from airflow_audit_provider.core.api.query import Direction, PageRequest
from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.core.paging.end_of_data import MIN_MIRRORED_ROWS, StopReason
from airflow_audit_provider.core.paging.query_bounds import QueryBounds

_MAX_RESTARTS = 3
_MAX_PAGES_WITHOUT_NEW_ROWS = 20
_EMPTY_PAGES_REQUIRED = 2
_KNOWN_NEXT_ROWS_ALLOWED = 3


class Neighbour(StrEnum):
    """Where a row outside of the range is looked for: behind its last row or before its first, in reading direction."""

    BEHIND = "behind"
    BEFORE = "before"


class CrowdedRegion(NamedTuple):
    """The signed seconds of the range, from ``first_second`` up to, not including, ``second_behind``.

    ``second_behind`` is None if no list may go past the range. ``second_of`` returns the signed second of a known id.
    """

    second_of: Callable[[str], int]
    signed_second: Callable[[AuditRecord], int]
    first_second: int
    second_behind: int | None

    def row_count(self, ids: Iterable[str], side: Neighbour) -> int:
        """Returns how many known rows a list shows before the neighbour on a side."""
        return sum(not self._is_outside(self.second_of(record_id), side) for record_id in ids)

    def is_neighbour(self, record: AuditRecord, side: Neighbour) -> bool:
        """Returns whether a record lies outside of the region on a side."""
        return self._is_outside(self.signed_second(record), side)

    def _is_outside(self, second: int, side: Neighbour) -> bool:
        if side is Neighbour.BEFORE:
            return second < self.first_second
        return self.second_behind is not None and second >= self.second_behind


class OffsetPager:
    """Reads a short range by page numbers; drive it by ``page_and_size`` and ``receive``.

    It ends with ``is_done``, or with a ``problem``: the reason why the range cannot be read completely.

    ``first_ids`` are the ids of the range's first page and ``row_limit`` is the most rows that a page had.
    ``probe_agrees`` states that the probe showed no other rows either. Only then is a status 400 after the known rows
    accepted as the end, and one empty page sufficient. ``needs_no_page`` is whether it did: another proof may then do,
    where a server ignores the page number. Without a ``region``, no row outside of the range is looked for.
    """

    def __init__(
        self, first_ids: Iterable[str], row_limit: int, *, probe_agrees: bool, region: CrowdedRegion | None = None
    ) -> None:
        self.is_done = self.is_opposite = False
        self.stop_reason = StopReason.EMPTY_PAGE
        self.problem: str | None = None
        self._ids = dict.fromkeys(first_ids)
        self._opposite_ids: dict[str, None] = {}
        self._row_limit = max(1, row_limit)
        self.needs_no_page = self._probe_agrees = probe_agrees
        self._requests_next_row = probe_agrees
        self._is_size_shown = False
        self._restart_count = 0
        self._pages_without_new_rows = self._known_next_row_count = 0
        self._empty_page_count = 0
        self._region = region
        self._sides: list[Neighbour] | None = None

    def request(self, direction: Direction, crowded_range: tuple[int, int], bounds: QueryBounds) -> PageRequest:
        """Returns the next request, for a range read in a direction."""
        page, size = self.page_and_size()
        if self._sides:
            query_range = bounds.behind_range(crowded_range)
            if self._sides[0] is Neighbour.BEFORE:
                query_range, direction = bounds.opposite_range(crowded_range), direction.opposite
            return PageRequest(*query_range, direction, size, page)
        return PageRequest(*crowded_range, direction.opposite if self.is_opposite else direction, size, page)

    def page_and_size(self) -> tuple[int, int]:
        """Returns the next (page, page size): a page that overlaps the rows read, or exactly the next row."""
        if self._sides and self._region is not None:
            return self._page_behind(self._region.row_count(self._ids, self._sides[0]))
        if self.is_opposite:
            known_count = len(self._opposite_ids)
            return overlapping_page(known_count, self._row_limit) if known_count else (1, self._row_limit)
        if not self._ids:
            return 1, self._row_limit
        if self._requests_next_row:
            return self._page_behind(len(self._ids))
        return overlapping_page(len(self._ids), self._row_limit)

    def _page_behind(self, row_count: int) -> tuple[int, int]:
        """Returns the (page, page size) that starts exactly behind so many rows.

        Until a smaller page has shown that the server does not ignore the page size, this is the second page of as many
        rows as the first had. Its place is the same if the server sends pages of its own size.
        """
        is_one_page = not self._is_size_shown and 1 <= row_count <= self._row_limit
        return (2, row_count) if is_one_page else (row_count + 1, 1)

    def receive(self, records: Sequence[AuditRecord]) -> None:
        """Adds the rows of the requested page."""
        page, size = self.page_and_size()
        ids = dict.fromkeys([record.id for record in records])
        if self._sides:
            self._receive_neighbour(self._sides, records)
            return
        if self.is_opposite:
            self._receive_opposite(ids)
            return
        overlaps = (page - 1) * size < len(self._ids)
        self._is_size_shown |= overlaps and page > 1 and not ids.keys().isdisjoint(self._ids)
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
        elif self._sides:
            self._try_next_side(self._sides)
        elif self._region is not None and self._sides is None:
            has_behind = self._region.second_behind is not None
            self._sides = [Neighbour.BEHIND, Neighbour.BEFORE] if has_behind else [Neighbour.BEFORE]
        else:
            self._read_opposite()

    def _receive_neighbour(self, sides: list[Neighbour], records: Sequence[AuditRecord]) -> None:
        """Ends if the row is a neighbour; a new row of the range is added, and anything else proves nothing."""
        if records and self._region is not None and self._region.is_neighbour(records[0], sides[0]):
            self.is_done, self.stop_reason = True, StopReason.NEIGHBOUR
        elif records and records[0].id not in self._ids:
            self._ids[records[0].id] = None
            self._sides = None
        else:
            self._try_next_side(sides)

    def _try_next_side(self, sides: list[Neighbour]) -> None:
        del sides[0]
        if not sides:
            self._read_opposite()

    def _read_opposite(self) -> None:
        if self.is_opposite or len(self._ids) < MIN_MIRRORED_ROWS:
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
