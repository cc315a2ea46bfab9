"""Reading a window as a row of walks: bounded memory, records out in order.

Knows: when a walk is cut, and that what a finished walk returned is complete.
Must not know: how a page is asked for (``exchange``) or judged (``paging``).
Its one rule: records leave sorted by (event time, id), walk by walk, so the same records give the same order
however they were paged.
"""

from __future__ import annotations

from typing import NamedTuple

from airflow_audit_provider.core.api.query import MAX_PAGE_SIZE, Direction, PageRequest
from airflow_audit_provider.core.api.read_stats import ReadStats
from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord, in_order, inside
from airflow_audit_provider.core.api.responses import Page
from airflow_audit_provider.core.paging.paginator import Paginator
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import ConfigurationError, SourceError


class ReadOptions(NamedTuple):
    """How a window is cut while it is read: rows asked for in a page, pages in a walk, and whether a cut ends it."""

    page_size: int = MAX_PAGE_SIZE
    pages_per_walk: int = 8
    stops_at_cut: bool = False


DEFAULT_READ_OPTIONS = ReadOptions()


class WindowReader:
    """Reads one window; drive it by ``ask``, ``take`` and ``refused`` as a single walk.

    The shape's ``pages_per_walk`` bounds the memory: a walk is cut after so many pages, as soon as time has advanced.
    With ``stops_at_cut`` the first cut ends the reading and leaves ``remainder``. ``horizon`` is a wider window to ask
    for, ``known_seconds`` a whole second known to hold a record, see
    ``Paginator``. Raises ``ConfigurationError`` for a page size outside 1 to 1000.
    """

    def __init__(
        self,
        version: ApiVersion,
        window: TimeWindow,
        direction: Direction = Direction.ASC,
        shape: ReadOptions = DEFAULT_READ_OPTIONS,
        horizon: TimeWindow | None = None,
        known_seconds: int | None = None,
    ) -> None:
        if not 1 <= shape.page_size <= MAX_PAGE_SIZE:
            raise ConfigurationError(f"A page size of {shape.page_size} is impossible. Give 1 to {MAX_PAGE_SIZE}.")
        self.window = window
        self.direction = direction
        self.tally = ReadStats()
        self.remainder: TimeWindow | None = None
        self._version = version
        self._shape = shape
        self._horizon = horizon or window
        self.known_seconds = known_seconds
        self._begin(window)

    def next_request(self) -> PageRequest | None:
        """Return the next page to ask for, or None when the whole window is read."""
        return self._walk.next_request() if self._walk is not None else None

    def receive(self, page: Page) -> list[AuditRecord]:
        """Take one page in; return the records that became complete, sorted in the reading's direction."""
        walk = self._open_walk()
        self._held.extend(walk.receive(page))
        self._walk_page_count += 1
        self.tally.page_count += 1
        remainder = walk.cut() if self._walk_page_count >= self._shape.pages_per_walk else None
        return [] if walk.ended_by is None else self._finish(walk, remainder)

    def receive_refusal(self, error: SourceError) -> list[AuditRecord]:
        """Take a 400 in: find another way, or raise; return the records that became complete, as ``take`` does."""
        walk = self._open_walk()
        walk.receive_refusal(error)
        self.tally.page_count += 1
        return [] if walk.ended_by is None else self._finish(walk, None)

    def _begin(self, window: TimeWindow | None) -> None:
        self._walk: Paginator | None = None
        if window is not None:
            self._walk = Paginator(
                self._version, window, self.direction, self._shape.page_size, self._horizon, self.known_seconds
            )
        self._walk_page_count = 0
        self._held: list[AuditRecord] = []

    def _open_walk(self) -> Paginator:
        if self._walk is None:
            raise RuntimeError("the window is read; nothing more can be taken")
        return self._walk

    def _finish(self, walk: Paginator, remainder: TimeWindow | None) -> list[AuditRecord]:
        """Close a walk: what lies past a cut is dropped; the remainder reads it again, and knows that it is there."""
        complete = inside(in_order(self._held), walk.window)
        tally = self.tally
        tally.seen_count += walk.ledger.seen_count
        tally.outside_count += walk.outside_count
        tally.repeated_count += walk.ledger.repeated_count + len(self._held) - len(complete)
        rule = str(walk.ended_by)
        tally.ended_by[rule] = tally.ended_by.get(rule, 0) + 1
        self.remainder = remainder
        self.known_seconds = walk.known_seconds
        self._begin(None if self._shape.stops_at_cut else remainder)
        return complete if self.direction is Direction.ASC else complete[::-1]


class SinglePageReader:
    """Reads exactly one page as the API gives it, unfiltered and in the API's order; driven as a :class:`WindowReader`.

    ``page`` counts from 1 (version 1); ``cursor`` is version 2's token.
    """

    def __init__(
        self, window: TimeWindow, direction: Direction, page_size: int, page: int = 1, cursor: str | None = None
    ) -> None:
        if page < 1:
            raise ConfigurationError(f"Page {page} is impossible. Pages count from 1.")
        self.tally = ReadStats()
        since, before = window.whole_seconds()
        self._ask: PageRequest | None = PageRequest(since, before, direction, page_size, page, cursor)

    def next_request(self) -> PageRequest | None:
        """Return the page to ask for, None when it was answered."""
        return self._ask

    def receive(self, page: Page) -> list[AuditRecord]:
        """Return the page's records."""
        self._ask = None
        self.tally.page_count += 1
        return page.records

    def receive_refusal(self, error: SourceError) -> list[AuditRecord]:
        """Raise the refusal: there is no other way to one page."""
        raise error
