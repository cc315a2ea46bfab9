"""The page protocol without a socket: which page to ask for next, and when the end is proved.

Knows: how a list moves in time, by page numbers inside one instant, by cursor; the loop guards.
Must not know: HTTP, retries, files, the present.
Its one rule: nothing counts as read until every record behind it has been seen, and the end is believed only
when it is proved: a short page proves nothing, a 400 proves nothing.

How it reads (``docs/adr/0001-page-protocol.md`` says why):

- **by time**: a page's last second becomes the next edge, asked for again with a margin, repeats dropped by id.
  Whole seconds and margins make it right whether the server's bounds are inclusive or exclusive, at any grain.
- **by page number**, version 1, only while one instant fills a page and time cannot advance; every page shares at
  least one row with those before, so a list that moves is noticed.
- **by cursor**, version 2; a lost, repeated or expired cursor falls back to time.
- **the end** is proved by an empty page, by version 2's explicit "no next page", or by reading the same range from
  the other side: when nothing there is new, there is nothing left. A row past the window's end proves it as well.
"""

from __future__ import annotations

from enum import StrEnum

from airflow_audit_provider.core.answers import Page
from airflow_audit_provider.core.edges import Edges
from airflow_audit_provider.core.ledger import Ledger, is_sorted
from airflow_audit_provider.core.overlap import overlapping_page
from airflow_audit_provider.core.query import MAX_PAGE_SIZE, Ask, Direction
from airflow_audit_provider.core.records import ApiVersion, AuditRecord, inside
from airflow_audit_provider.core.window import TimeWindow
from airflow_audit_provider.exceptions import SourceError, SourceProtocolError

_PROBE_SPARE_ROWS = 10
_BARREN_PAGE_LIMIT = 100
_RESTART_LIMIT = 3
# Version 2 has been seen never to send more than 100 rows whatever was asked: a round page may be a ceiling.
_CEILING_STEP = 100


class End(StrEnum):
    """The rules by which a walk may end."""

    EMPTY_PAGE = "empty page"
    NO_CURSOR = "no cursor"
    OTHER_SIDE = "read from the other side"
    CROSSED = "a row past the window's end"
    CUT = "cut where time had advanced"


class _Mode(StrEnum):
    SWEEP = "sweep"
    DEEP = "deep"
    PROBE = "probe"
    DONE = "done"


class Walk:
    """Reads one window from one edge to the other; drive it by ``ask``, ``take`` and ``refused``.

    ``take`` returns the page's new records inside the window, each id once. Memory grows with the records seen,
    so a long window is cut (:meth:`cut`) into a finished walk and a remainder. ``horizon`` is a wider window to ask
    for: rows past the far edge then prove the end without a further request. Raises ``SourceProtocolError`` when going
    on could lose a record or never end.
    """

    def __init__(
        self,
        version: ApiVersion,
        window: TimeWindow,
        direction: Direction = Direction.ASC,
        page_size: int = MAX_PAGE_SIZE,
        horizon: TimeWindow | None = None,
    ) -> None:
        self.window = window
        self.ended_by: End | None = None
        self.outside_count = 0
        self._version = version
        self._direction = direction
        self._sign = 1 if direction is Direction.ASC else -1
        self._page_size = page_size
        self._edges = Edges(window, horizon or window, direction)
        self._mode = _Mode.SWEEP
        self._ledger = Ledger(self._sign)
        self._row_limit = page_size
        self._read_count = 0
        self._cursor: str | None = None
        self._cursors_used: set[str] = set()
        self._exact = False
        self._largest_page = 0
        self._sends_short_pages = False
        self._other_side_agrees = False
        self._barren_count = 0
        self._restart_count = 0

    @property
    def seen_count(self) -> int:
        """How many rows came, repeated ones counted each time."""
        return self._ledger.seen_count

    @property
    def repeated_count(self) -> int:
        """How many rows came that had come before."""
        return self._ledger.repeated_count

    def ask(self) -> Ask | None:
        """Return the next page to ask for, or None when the window is read."""
        edges = self._edges
        if self._mode is _Mode.DONE:
            return None
        if self._mode is _Mode.PROBE:
            rows = min(MAX_PAGE_SIZE, self._ledger.count_at_reach() + _PROBE_SPARE_ROWS)
            return Ask(edges.since_seconds, edges.before_seconds, self._direction.opposite, rows)
        page, size = self._page_and_size() if self._mode is _Mode.DEEP else (1, self._page_size)
        return Ask(edges.since_seconds, edges.before_seconds, self._direction, size, page, self._cursor)

    def take(self, page: Page) -> list[AuditRecord]:
        """Take one answered page in; return its new records inside the window, in the order they came."""
        asked = self.ask()
        if asked is None:
            raise RuntimeError("a walk that is done takes no page")
        self._refuse_disorder(page.records, asked.direction)
        if self._mode is _Mode.PROBE:
            return self._take_probe(page.records, asked.page_size)
        shared = self._mode is _Mode.DEEP and any(record in self._ledger for record in page.records)
        fresh = self._ledger.absorb(page.records)
        self._ledger.advance(page.records)
        if page.records and self._edges.has_crossed(self._reach(), self.window):
            self._end(End.CROSSED)
        elif self._mode is _Mode.DEEP:
            self._after_deep(len(page.records), asked, shared)
        else:
            self._after_sweep(page, asked, bool(fresh))
        return self._keep(fresh)

    def refused(self, error: SourceError) -> None:
        """Take a 400 in: find another way to the same records, or raise the error."""
        if self._cursor is not None:
            self._cursor = None
            self._advance(f"the API refused its own cursor ({error.message})")
        elif self._mode is _Mode.DEEP and self._exact and self._other_side_agrees:
            self._end(End.OTHER_SIDE)
        elif self._mode is _Mode.DEEP:
            raise self._stuck(f"the API answers 400 to page {self._page_and_size()[0]} of one instant")
        else:
            raise error

    def cut(self) -> TimeWindow | None:
        """End the walk where time has advanced; return the window still to be read, None when it cannot be cut.

        Records at or past the cut that ``take`` already returned belong to the remainder: use ``self.window``.
        """
        if self._mode is not _Mode.SWEEP or self._ledger.reach is None:
            return None
        border = self._edges.complete_up_to(self._reach())
        if not self.window.start < border < self.window.end:
            return None
        before, after = TimeWindow(self.window.start, border), TimeWindow(border, self.window.end)
        self.window, remainder = (before, after) if self._sign > 0 else (after, before)
        self._end(End.CUT)
        return remainder

    def _keep(self, fresh: list[AuditRecord]) -> list[AuditRecord]:
        """Return the records inside the window; count the others."""
        kept = inside(fresh, self.window)
        self.outside_count += len(fresh) - len(kept)
        return kept

    def _refuse_disorder(self, records: list[AuditRecord], direction: Direction) -> None:
        if not is_sorted(records, 1 if direction is Direction.ASC else -1):
            raise SourceProtocolError(
                f"The API sent a page that is not sorted {direction} by time, so its end cannot be trusted. "
                "Report it to the maintainers; nothing of the window was written.",
                position=self._position(),
            )

    def _after_sweep(self, page: Page, asked: Ask, brought_new: bool) -> None:
        row_count = len(page.records)
        may_be_capped = row_count in (self._largest_page, asked.page_size) or row_count % _CEILING_STEP == 0
        self._largest_page = max(self._largest_page, row_count)
        self._read_count = row_count
        if page.cursor is not None:
            self._follow(page.cursor, brought_new)
        elif row_count == 0:
            self._end(End.EMPTY_PAGE)
        elif page.says_end and not may_be_capped:
            self._end(End.NO_CURSOR)
        elif self._version is ApiVersion.V2 or self._looks_like_the_end(row_count, asked, brought_new):
            self._mode = _Mode.PROBE
        else:
            self._advance("a full page lies within one instant")

    def _looks_like_the_end(self, row_count: int, asked: Ask, brought_new: bool) -> bool:
        return row_count < asked.page_size and not (self._sends_short_pages and brought_new)

    def _follow(self, cursor: str, brought_new: bool) -> None:
        """Go on with the cursor, also from an empty page, but not for ever and not in a circle."""
        self._barren_count = 0 if brought_new else self._barren_count + 1
        if self._barren_count > _BARREN_PAGE_LIMIT:
            raise self._stuck(f"{_BARREN_PAGE_LIMIT} pages in a row brought nothing new and still offer a next one")
        if cursor in self._cursors_used:
            self._advance("the API offers a cursor that was used before")
            return
        self._cursors_used.add(cursor)
        self._cursor = cursor

    def _after_deep(self, row_count: int, asked: Ask, shared: bool) -> None:
        offset = (asked.page - 1) * asked.page_size
        overlaps = offset < self._read_count
        if row_count == 0 and not overlaps:
            self._end(End.EMPTY_PAGE)
            return
        if overlaps and not shared:
            self._restart_deep()
            return
        grew = offset + row_count > self._read_count
        self._read_count = max(self._read_count, offset + row_count)
        if grew:
            self._exact = False
            self._advance("time does not advance")
        else:
            # Nothing behind the shared rows: the end, or a server that sends less than asked for.
            self._exact = True
            self._mode = _Mode.PROBE

    def _restart_deep(self) -> None:
        """A page of one instant shares no row with the pages before it: the list moved, so read it again."""
        self._restart_count += 1
        if self._restart_count > _RESTART_LIMIT:
            raise self._stuck("the list of one instant keeps moving while it is read")
        self._mode, self._read_count = _Mode.SWEEP, 0

    def _take_probe(self, records: list[AuditRecord], asked_count: int) -> list[AuditRecord]:
        """Judge the end by the same range read from the other side; late rows found behind the reach are taken."""
        unknown = [record for record in records if record not in self._ledger]
        ahead = [record for record in unknown if self._is_ahead(record)]
        late = self._ledger.absorb([record for record in unknown if not self._is_ahead(record)])
        behind_reach = any(not self._is_ahead(record) for record in records)
        if ahead:
            self._sends_short_pages = True
            self._row_limit = max(1, min(self._row_limit, self._read_count))
            self._advance("the API sends fewer rows than asked for")
        elif behind_reach or not records:
            self._end(End.OTHER_SIDE)
        else:
            self._doubt_one_instant(len(records) < asked_count)
        return self._keep(late)

    def _doubt_one_instant(self, other_side_is_short: bool) -> None:
        """All rows lie in one second, where both sides may hide the same row: ask for the row after the last."""
        if self._version is ApiVersion.V1:
            self._mode, self._exact, self._other_side_agrees = _Mode.DEEP, True, other_side_is_short
        elif other_side_is_short:
            self._end(End.OTHER_SIDE)
        else:
            raise self._stuck("the end lies within one instant that fills a page, and no next page is offered")

    def _advance(self, trouble: str) -> None:
        """Move the edge to the last second reached; where time cannot advance, go deep by page numbers."""
        self._cursor = None
        if self._edges.advance(self._reach()):
            self._mode, self._read_count, self._restart_count, self._exact = _Mode.SWEEP, 0, 0, False
        elif self._version is ApiVersion.V1:
            self._mode = _Mode.DEEP
        else:
            raise self._stuck(trouble)

    def _end(self, rule: End) -> None:
        self._mode, self.ended_by = _Mode.DONE, rule

    def _page_and_size(self) -> tuple[int, int]:
        if self._exact:
            return self._read_count + 1, 1
        return overlapping_page(self._read_count, self._row_limit)

    def _is_ahead(self, record: AuditRecord) -> bool:
        """Say whether the walk still comes to a row: only seconds before the reached one are complete."""
        return self._ledger.place_of(record) >= self._reach()

    def _reach(self) -> int:
        if self._ledger.reach is None:
            raise self._stuck("the API offers a next page without having sent a record")
        return self._ledger.reach

    def _position(self) -> str:
        since, before = self._edges.since_seconds, self._edges.before_seconds
        return f"{self._mode} {self._direction} of {self.window}, since {since} before {before}"

    def _stuck(self, trouble: str) -> SourceProtocolError:
        return SourceProtocolError(
            f"Records could be lost here: {trouble}. Nothing of the window was written. Narrow the filters "
            "(for example by actor or action type) so that fewer records share the instant, or report it.",
            position=self._position(),
        )
