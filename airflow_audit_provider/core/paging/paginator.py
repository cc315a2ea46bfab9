"""The page protocol without a socket: which page to ask for next, and when the end is proved.

Knows: how a list moves in time, by page numbers inside one instant, by cursor; the loop guards.
Must not know: HTTP, retries, files, the present.
Its one rule: nothing counts as read until every record behind it has been seen, and the end is believed only when it
is proved: neither a short page nor a 400 proves it. How it reads (``docs/adr/0001-page-protocol.md``):

- **by time**: a page's last second is the next edge, asked for again with a margin; right for bounds of every kind.
- **by page number** (version 1, ``depth``) or **by cursor** (version 2) only while one instant fills a page and time
  cannot advance; also from an empty page that offers a cursor.
- **the end** (``ending``) is proved by an empty page where nothing is known yet, by version 2's "no next page", by a
  row past the window's end, or from the other side. In one second version 2 is asked for all but the known rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from airflow_audit_provider.core.api.query import MAX_PAGE_SIZE, Direction, PageRequest
from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord, inside
from airflow_audit_provider.core.api.responses import Page
from airflow_audit_provider.core.paging.end_of_data import (
    MIRROR_ROWS,
    MOST_LEFT_OUT,
    PageContinuity,
    PageSizes,
    StopReason,
    is_mirrored,
)
from airflow_audit_provider.core.paging.errors import conflicting_records, no_progress, out_of_order
from airflow_audit_provider.core.paging.offset_pager import OffsetPager
from airflow_audit_provider.core.paging.page_size import PageSizer
from airflow_audit_provider.core.paging.query_bounds import QueryBounds
from airflow_audit_provider.core.paging.seen_records import SeenRecords, is_sorted
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import SourceError, SourceProtocolError

_PROBE_SPARE_ROWS = 10
_BARREN_PAGE_LIMIT = 100
_CONTRADICTION_LIMIT = 5


class _Mode(StrEnum):
    SWEEP = "sweep"
    OFFSET = "deep"
    PROBE = "probe"
    ALL_ELSE = "all else"


class Paginator:
    """Reads one window from one edge to the other; drive it by ``ask``, ``take`` and ``refused``.

    ``take`` returns the page's new records inside the window, each id once. Memory grows with the records seen,
    so a long window is cut (:meth:`cut`) into a finished walk and a remainder. ``horizon`` is a wider window to ask
    for: rows past the far edge then prove the end without a further request. ``known_seconds`` is a whole second with a
    record, inside the window or behind its near edge: then an empty answer is no end by itself. Raises
    ``SourceProtocolError`` when going on could lose a record or never end.
    """

    def __init__(
        self,
        version: ApiVersion,
        window: TimeWindow,
        direction: Direction = Direction.ASC,
        page_size: int = MAX_PAGE_SIZE,
        horizon: TimeWindow | None = None,
        known_seconds: int | None = None,
    ) -> None:
        self.window = window
        self.ended_by: StopReason | None = None
        self.outside_count = 0
        self._version = version
        self._direction = direction
        self._sign = 1 if direction is Direction.ASC else -1
        self._fitting = PageSizer(page_size, window, horizon or window)
        self._known_seconds = known_seconds
        self._edges = QueryBounds(window, horizon or window, direction, known_seconds)
        self._mode = _Mode.SWEEP
        self.ledger = SeenRecords(self._sign, None if known_seconds is None else self._edges.near_reach)
        self._pass = PageContinuity(self.ledger.place_of)
        self._depth: OffsetPager | None = None
        self._depth_range = 0, 0
        self._beyond_depth: int | None = None
        self._sizes = PageSizes()
        self._sends_short_pages = False
        self._barren_count = self._contradiction_count = 0

    def next_request(self) -> PageRequest | None:
        """Return the next page to ask for, or None when the window is read."""
        edges = self._edges
        if self.ended_by is not None:
            return None
        if self._mode is _Mode.PROBE:
            rows = min(MAX_PAGE_SIZE, self.ledger.count_at_reach() + _PROBE_SPARE_ROWS)
            return PageRequest(*edges.other_side(), self._direction.opposite, rows)
        if self._depth is not None:
            page, size = self._depth.page_and_size()
            return PageRequest(*self._depth_range, self._direction, size, page)
        range_ = edges.since_seconds, edges.before_seconds, self._direction
        if self._mode is _Mode.ALL_ELSE:
            return PageRequest(*range_, _PROBE_SPARE_ROWS, without_ids=self.ledger.ids)
        return PageRequest(*range_, self._fitting.row_count(self.ledger, self._pass.cursor), 1, self._pass.cursor)

    def receive(self, page: Page) -> list[AuditRecord]:
        """Take one answered page in; return its new records inside the window, in the order they came."""
        asked = self.next_request()
        if asked is None:
            raise RuntimeError("a walk that is done takes no page")
        if not is_sorted(page.records, 1 if asked.direction is Direction.ASC else -1):
            raise out_of_order(asked.direction, self._position())
        if self._mode is _Mode.PROBE:
            return self._receive_probe(page.records, asked.page_size)
        if self._mode is _Mode.ALL_ELSE:
            return self._receive_all_else(page)
        fresh = self.ledger.add(page.records)
        self._refuse_conflict()
        if self._depth is not None:
            self._depth.receive(page.records)
            self._after_offset_paging(self._depth, StopReason.EMPTY_PAGE)
            return self._keep(fresh)
        self.ledger.advance(page.records)
        if not self._pass.accepts(page.records):
            # Time may not be trusted to have advanced either.
            raise self._stuck("the rows of one instant change places while a cursor is followed")
        self._after_sweep(page, asked, bool(fresh))
        return self._keep(fresh)

    def receive_refusal(self, error: SourceError) -> None:
        """Take a 400 in: find another way to the same records, or raise the error."""
        if self._depth is not None:
            self._depth.receive_refusal()
            self._after_offset_paging(self._depth, StopReason.REFUSED)
        elif self._mode is _Mode.ALL_ELSE:
            raise self._stuck(f"the API does not say what else one second holds ({error.message})")
        elif self._mode is _Mode.SWEEP and self._pass.cursor is not None:
            # Cursors are followed only where time stands still, so there is no other way on.
            raise self._stuck(f"the API refused its own cursor ({error.message})")
        else:
            raise error

    @property
    def known_seconds(self) -> int | None:
        """The whole second of the furthest record seen; before any was, what was known at the beginning."""
        return self._known_seconds if self.ledger.furthest is None else self._sign * self.ledger.furthest

    def cut(self) -> TimeWindow | None:
        """End the walk where time has advanced; return the window still to be read, None when it cannot be cut.

        Records at or past the cut that ``take`` already returned belong to the remainder: use ``self.window``.
        """
        if self.ended_by is not None or self._mode is not _Mode.SWEEP or self.ledger.reach is None:
            return None
        border = self._edges.complete_up_to(self._reach())
        if not self.window.start < border < self.window.end:
            return None
        before, after = TimeWindow(self.window.start, border), TimeWindow(border, self.window.end)
        self.window, remainder = (before, after) if self._sign > 0 else (after, before)
        self.ended_by = StopReason.CUT
        return remainder

    def _keep(self, fresh: list[AuditRecord]) -> list[AuditRecord]:
        """Return the records inside the window; count the others."""
        kept = inside(fresh, self.window)
        self.outside_count += len(fresh) - len(kept)
        return kept

    def _refuse_conflict(self) -> None:
        if self.ledger.conflict is not None:
            raise conflicting_records(self.ledger.conflict, self._position())

    def _after_sweep(self, page: Page, asked: PageRequest, brought_new: bool) -> None:
        if page.records and self._edges.has_crossed(self._reach(), self.window):
            self.ended_by = StopReason.CROSSED
        elif self._fitting.is_small(asked.page_size) and not self._edges.moves_with(self._reach()):
            self._fitting.use_full_pages()
            self._sweep_on()
        else:
            self._judge(page, asked, brought_new)

    def _judge(self, page: Page, asked: PageRequest, brought_new: bool) -> None:
        row_count = len(page.records)
        may_be_capped = self._sizes.may_be_capped(row_count, asked.page_size)
        goes_on = row_count >= asked.page_size or (self._sends_short_pages and brought_new)
        if page.cursor is not None:
            self._follow(page.cursor, brought_new)
        elif row_count == 0 and self.ledger.reach is None:
            self.ended_by = StopReason.EMPTY_PAGE
        elif page.says_end and not (may_be_capped or self._sends_short_pages):
            self.ended_by = StopReason.NO_CURSOR
        elif self._version is ApiVersion.V1 and goes_on:
            self._advance("a full page lies within one instant")
        else:
            self._mode = _Mode.PROBE

    def _follow(self, cursor: str, brought_new: bool) -> None:
        """Go on by time where it has advanced, else with the cursor, but not for ever and not in a circle."""
        self._barren_count = 0 if brought_new else self._barren_count + 1
        if self._barren_count > _BARREN_PAGE_LIMIT:
            raise self._stuck(f"{_BARREN_PAGE_LIMIT} pages in a row brought nothing new and still offer a next one")
        if self.ledger.reach is not None and self._edges.advance(self.ledger.reach):
            self._sweep_on()
        elif not self._pass.follow(cursor):
            raise self._stuck("the API offers a cursor that was used before")

    def _after_offset_paging(self, depth: OffsetPager, rule: StopReason) -> None:
        """Leave a crowded instant when it is read: go on past it, or end where it was the last."""
        if depth.trouble is not None:
            raise self._stuck(depth.trouble)
        if not depth.is_done:
            return
        self._depth, beyond = None, self._beyond_depth
        if beyond is None:
            self.ended_by = rule
        elif self._edges.has_crossed(beyond, self.window):
            self.ended_by = StopReason.CROSSED
        else:
            self._edges.advance(beyond)
            self.ledger.reach = beyond
            self._sweep_on()

    def _receive_probe(self, records: list[AuditRecord], asked_count: int) -> list[AuditRecord]:
        """Judge the end by the other side, whose rows have no gap; late rows found behind the reach are taken."""
        for record in records:
            self.ledger.compare(record)
        self._refuse_conflict()
        unknown = [record for record in records if record not in self.ledger]
        ahead = [record for record in unknown if self._is_ahead(record)]
        late = self.ledger.add([record for record in unknown if not self._is_ahead(record)])
        behind_reach = any(not self._is_ahead(record) for record in records)
        if ahead:
            self._sends_short_pages |= bool(self._pass.ids)
            self._advance("the API sends fewer rows than asked for")
        elif not records:
            self._request_again("the same range is empty when it is read from the other side")
        elif behind_reach:
            self.ended_by = StopReason.OTHER_SIDE
        else:
            self._doubt_one_second(records, asked_count)
        return self._keep(late)

    def _doubt_one_second(self, records: Sequence[AuditRecord], asked_count: int) -> None:
        """All rows lie in one second, where both sides may hide the same row: ask for what else there is."""
        seems_whole = is_mirrored(self.ledger.ids, records)
        if self._version is ApiVersion.V1:
            self._depth_range, self._beyond_depth = (self._edges.since_seconds, self._edges.before_seconds), None
            # A few rows are no depth that any API caps at.
            self._start_offset_paging(
                seems_whole=len(records) < asked_count and (seems_whole or len(records) < MIRROR_ROWS)
            )
        elif seems_whole:
            self.ended_by = StopReason.OTHER_SIDE
        elif len(self.ledger) <= MOST_LEFT_OUT:
            self._mode = _Mode.ALL_ELSE
        else:
            raise self._stuck("the end lies within one crowded second, and no next page is offered")

    def _receive_all_else(self, page: Page) -> list[AuditRecord]:
        """Nothing but the known rows is the end; anything else was hidden, or the question was not understood."""
        if page.records or page.cursor is not None:
            raise self._stuck("the API hides rows of one second")
        self.ended_by = StopReason.NOTHING_ELSE
        return []

    def _advance(self, trouble: str) -> None:
        """Move the edge to the last second reached; where time cannot advance, go deep by page numbers."""
        if self._edges.advance(self._reach()):
            self._sweep_on()
        elif not self._pass.ids:
            self._request_again(trouble)
            self._sweep_on()
        elif self._version is ApiVersion.V1:
            reach = self._reach()
            self._depth_range, self._beyond_depth = self._edges.around(reach), self._edges.beyond(reach)
            self._start_offset_paging(seems_whole=False)
        else:
            raise self._stuck(trouble)

    def _request_again(self, trouble: str) -> None:
        """Allow for an answer that contradicts those before it, a few times."""
        self._contradiction_count += 1
        if self._contradiction_count > _CONTRADICTION_LIMIT:
            raise self._stuck(trouble)

    def _sweep_on(self) -> None:
        self._mode, self._pass = _Mode.SWEEP, PageContinuity(self.ledger.place_of)

    def _start_offset_paging(self, *, seems_whole: bool) -> None:
        """Read the rest of a crowded instant by page numbers, from what this pass has brought of it."""
        self._mode = _Mode.OFFSET
        self._depth = OffsetPager(self._pass.ids, self._sizes.largest, seems_whole=seems_whole)

    def _is_ahead(self, record: AuditRecord) -> bool:
        """Say whether the walk still comes to a row: only seconds before the reached one are complete."""
        return self.ledger.place_of(record) >= self._reach()

    def _reach(self) -> int:
        if self.ledger.reach is None:
            raise self._stuck("the API offers a next page without having sent a record")
        return self.ledger.reach

    def _position(self) -> str:
        since, before = self._edges.since_seconds, self._edges.before_seconds
        return f"{self._mode} {self._direction} of {self.window}, since {since} before {before}"

    def _stuck(self, trouble: str) -> SourceProtocolError:
        return no_progress(trouble, self._position())
