"""Reads one crowded second by cursor, from both sides, which is version 2's only way on where time cannot advance.

A cursor may count rows, as page numbers do: where one row is missing from a later page, because a replica is behind or
the row expired, the list moves up by one, and a row that is still there is never shown. A late record moves it down, so
that a row is repeated. One pass over the rows of the second is therefore no proof, however it ended.

Invariant: the second is read when two passes in a row, in opposite directions, show the same rows. One row that is
missing for a moment moves different rows past the page boundaries of the two passes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from airflow_audit_provider.core.api.query import Direction, PageRequest
from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.core.api.responses import Page
from airflow_audit_provider.core.paging.end_of_data import is_mirrored
from airflow_audit_provider.core.paging.query_bounds import QueryBounds
from airflow_audit_provider.core.paging.seen_records import PageContinuity

_MAX_PASSES = 6
_MAX_RESTARTS = 3
_MAX_EMPTY_PAGES = 100
# Rows that a pass requests beyond the known ones: enough to show a row past the region.
_EXTRA_ROWS = 10

SignedSecond = Callable[[AuditRecord], int]


class CursorPager:
    """Reads the records of a short region by cursors; drive it by ``request`` and ``receive``.

    It ends with ``is_done`` or with a ``problem``. ``needs_other_proof`` states that both sides agree and that both
    could have omitted the same row, because neither shows a row past the region.

    The region holds the signed seconds from ``first_second`` up to, not including, ``second_after``. It is open-ended
    (``is_open_ended``) if ``second_after`` is None, or if the list appears to end inside it. ``pages`` is the chain of
    pages that led here, whose rows are the beginning of the first pass.
    """

    def __init__(
        self,
        signed_second: SignedSecond,
        first_second: int,
        second_after: int | None,
        pages: PageContinuity,
        rows: Sequence[AuditRecord],
        page_size: int,
    ) -> None:
        self.is_done = self.needs_other_proof = self.is_opposite = self.ends_by_statement = False
        self.problem: str | None = None
        self.is_first_chain = True
        self.is_open_ended = second_after is None
        self._signed_second = signed_second
        self._first_second = first_second
        self._second_after = second_after
        self._pages = pages
        self._page_size = page_size
        self._rows = {record.id: record for record in rows if self._is_in_region(record)}
        self._previous: dict[str, AuditRecord] | None = None
        self._shows_neighbour = False
        self._pass_count, self._restart_count, self._empty_page_count = 1, 0, 0

    @property
    def cursor(self) -> str | None:
        """Cursor of the next page, None for the first page of a pass."""
        return self._pages.cursor

    @property
    def row_count(self) -> int:
        """Number of rows that the passes are known to have."""
        return max(len(self._rows), len(self._previous or ()))

    def request(self, direction: Direction, crowded_range: tuple[int, int], bounds: QueryBounds) -> PageRequest:
        """Returns the request for the next page of a pass; its first chain keeps the query that the cursor is of."""
        if self.is_first_chain:
            return PageRequest(*bounds.range, direction, self._page_size, 1, self.cursor)
        query_range = bounds.range if self.is_open_ended else crowded_range
        # Whether a cursor is valid for another page size is not documented, so the size is that of the pass's start.
        row_count = min(self._page_size, self.row_count + _EXTRA_ROWS)
        if self.is_opposite:
            query_range, direction = bounds.opposite_range(query_range), direction.opposite
        return PageRequest(*query_range, direction, row_count, 1, self.cursor)

    def receive(self, page: Page, *, states_end: bool) -> None:
        """Adds the requested page; ``states_end`` is whether the page itself proves the end of the list."""
        if not self._pages.accepts(page.records):
            self._restart_pass()
            return
        if self._limits_region(page.records):
            return
        self._rows.update((record.id, record) for record in page.records if self._is_in_region(record))
        self._empty_page_count = 0 if page.records else self._empty_page_count + 1
        if page.records and self._is_past_region(page.records[-1]):
            self._end_pass(shows_neighbour=True)
        elif page.cursor is None:
            self._end_chain(states_end=states_end)
        elif self._empty_page_count > _MAX_EMPTY_PAGES:
            self.problem = f"{_MAX_EMPTY_PAGES} pages in a row had no new record and a cursor to a next page"
        elif not self._pages.follow(page.cursor):
            # Whether a cursor can repeat is not documented. Following one twice would read in a circle.
            self.problem = "the API returned a cursor that was used before"

    def _end_chain(self, *, states_end: bool) -> None:
        """Ends a pass whose last page has no cursor: the list ends in the region, or the server lost a cursor."""
        if self.is_first_chain:
            self.is_open_ended = True
        if not self.is_opposite:
            self.ends_by_statement = states_end
        self._end_pass(shows_neighbour=False)

    def _end_pass(self, *, shows_neighbour: bool) -> None:
        """Compares a pass with the one before, from the other side; starts another if they differ."""
        shown_before, self._shows_neighbour = self._shows_neighbour, shows_neighbour
        rows, previous = self._rows, self._previous
        if previous is not None and rows.keys() == previous.keys():
            # A row past the region on either side shows that the list was not cut inside of it. Rows in exactly the
            # opposite order show the same, and so does a stated end.
            is_proved = shown_before or shows_neighbour or self.ends_by_statement
            self.is_done = is_proved or is_mirrored(tuple(previous), rows.values(), whole=True)
            self.needs_other_proof = not self.is_done
        elif self._pass_count >= _MAX_PASSES:
            self.problem = "the rows of one second differ each time they are read"
        else:
            self._previous, self._pass_count = rows, self._pass_count + 1
            self.is_opposite = not self.is_opposite
            self._start_pass()

    def _restart_pass(self) -> None:
        """Reads a pass again, because its rows moved between two pages, as a late record moves them."""
        self._restart_count += 1
        if self._restart_count > _MAX_RESTARTS:
            self.problem = "the rows of one second change their order while a cursor is followed"
        else:
            self._start_pass()

    def _start_pass(self) -> None:
        self.is_first_chain = False
        sign = -1 if self.is_opposite else 1
        self._pages = PageContinuity(lambda record: sign * self._signed_second(record))
        self._rows, self._empty_page_count = {}, 0

    def _limits_region(self, records: Sequence[AuditRecord]) -> bool:
        """Returns whether the list goes on past a region that was thought to be its end; the pass is then restarted."""
        if not (self.is_opposite and self.is_open_ended and self._second_after is not None and records):
            return False
        if self._signed_second(records[0]) < self._second_after:
            return False
        # A cursor was lost inside the region. What follows it is read later, and not by this pass.
        self.is_open_ended = False
        self._restart_pass()
        return True

    def _is_in_region(self, record: AuditRecord) -> bool:
        second = self._signed_second(record)
        if self.is_open_ended or self._second_after is None:
            return second >= self._first_second
        return self._first_second <= second < self._second_after

    def _is_past_region(self, record: AuditRecord) -> bool:
        second = self._signed_second(record)
        if self.is_opposite:
            return second < self._first_second
        return not self.is_open_ended and self._second_after is not None and second >= self._second_after
