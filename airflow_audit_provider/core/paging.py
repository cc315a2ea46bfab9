"""The page protocol without a socket: which page to ask for next, and when the end is proved.

Knows: how a list moves in time, by page numbers inside one instant, by cursor; the loop guards.
Must not know: HTTP, retries, files, the present.
Its one rule: nothing counts as read until every record behind it has been seen, and the end is believed only
when it is proved: neither a short page nor a 400 proves it. How it reads (``docs/adr/0001-page-protocol.md``):

- **by time**: a page's last second becomes the next edge, asked for again with a margin, repeats dropped by id.
  Whole seconds and margins make it right whether the server's bounds are inclusive or exclusive, at any grain, and
  whichever order ties come in.
- **by page number** (version 1, ``depth``) or **by cursor** (version 2) only while one instant fills a page and time
  cannot advance; also from an empty page that offers a cursor.
- **the end** is proved by an empty page, by version 2's explicit "no next page", or by reading the same range from
  the other side: when nothing there is new, there is nothing left. A row past the window's end proves it as well.
"""

from __future__ import annotations

from enum import StrEnum

from airflow_audit_provider.core.answers import Page
from airflow_audit_provider.core.depth import Depth
from airflow_audit_provider.core.edges import Edges
from airflow_audit_provider.core.ledger import Ledger, is_sorted
from airflow_audit_provider.core.query import MAX_PAGE_SIZE, Ask, Direction
from airflow_audit_provider.core.records import ApiVersion, AuditRecord, inside
from airflow_audit_provider.core.window import TimeWindow
from airflow_audit_provider.exceptions import SourceError, SourceProtocolError

_PROBE_SPARE_ROWS = 10
_BARREN_PAGE_LIMIT = 100
_CONTRADICTION_LIMIT = 5
# Version 2 has been seen never to send more than 100 rows whatever was asked: a round page may be a ceiling.
_CEILING_STEP = 100


class End(StrEnum):
    """The rules by which a walk may end."""

    EMPTY_PAGE = "empty page"
    NO_CURSOR = "no cursor"
    REFUSED = "a 400 behind what looked whole"
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
        self.ledger = Ledger(self._sign)
        self._pass_ids: set[str] = set()
        self._depth: Depth | None = None
        self._depth_range = 0, 0
        self._beyond_depth: int | None = None
        self._cursor: str | None = None
        self._cursors_used: set[str] = set()
        self._largest_page = 0
        self._sends_short_pages = self._expects_rows = False
        self._barren_count = self._contradiction_count = 0

    def ask(self) -> Ask | None:
        """Return the next page to ask for, or None when the window is read."""
        edges = self._edges
        if self._mode is _Mode.DONE:
            return None
        if self._mode is _Mode.PROBE:
            rows = min(MAX_PAGE_SIZE, self.ledger.count_at_reach() + _PROBE_SPARE_ROWS)
            return Ask(edges.since_seconds, edges.before_seconds, self._direction.opposite, rows)
        if self._depth is not None:
            page, size = self._depth.page_and_size()
            return Ask(*self._depth_range, self._direction, size, page)
        return Ask(edges.since_seconds, edges.before_seconds, self._direction, self._page_size, 1, self._cursor)

    def take(self, page: Page) -> list[AuditRecord]:
        """Take one answered page in; return its new records inside the window, in the order they came."""
        asked = self.ask()
        if asked is None:
            raise RuntimeError("a walk that is done takes no page")
        self._refuse_disorder(page.records, asked.direction)
        if self._mode is _Mode.PROBE:
            return self._take_probe(page.records, asked.page_size)
        fresh = self.ledger.absorb(page.records)
        follows_on = self.ledger.follows(page.records)
        if self._depth is not None:
            self._depth.take(page.records)
            self._after_deep(self._depth, End.EMPTY_PAGE)
            return self._keep(fresh)
        self.ledger.advance(page.records)
        if self._repeats_this_pass(page.records) or (asked.cursor is not None and not follows_on):
            # The pages do not join on, so time may not be trusted to have advanced either.
            raise self._stuck("the rows of one instant change places while a cursor is followed")
        if page.records and self._edges.has_crossed(self._reach(), self.window):
            self._end(End.CROSSED)
        else:
            self._after_sweep(page, asked, bool(fresh))
        return self._keep(fresh)

    def refused(self, error: SourceError) -> None:
        """Take a 400 in: find another way to the same records, or raise the error."""
        if self._depth is not None:
            self._depth.refused()
            self._after_deep(self._depth, End.REFUSED)
        elif self._cursor is not None:
            # Cursors are followed only where time stands still, so there is no other way on.
            raise self._stuck(f"the API refused its own cursor ({error.message})")
        else:
            raise error

    def cut(self) -> TimeWindow | None:
        """End the walk where time has advanced; return the window still to be read, None when it cannot be cut.

        Records at or past the cut that ``take`` already returned belong to the remainder: use ``self.window``.
        """
        if self._mode is not _Mode.SWEEP or self.ledger.reach is None:
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
        if page.cursor is not None:
            self._follow(page.cursor, brought_new)
        elif row_count == 0 and not (self._expects_rows or self._pass_ids):
            self._end(End.EMPTY_PAGE)
        elif page.says_end and not may_be_capped:
            self._end(End.NO_CURSOR)
        elif self._version is ApiVersion.V2 or self._looks_like_the_end(row_count, asked, brought_new):
            self._mode = _Mode.PROBE
        else:
            self._advance("a full page lies within one instant")

    def _repeats_this_pass(self, records: list[AuditRecord]) -> bool:
        """Note this pass's ids; say whether a page shares a row with one before it over the same edges."""
        ids = {record.id for record in records}
        repeats = not ids.isdisjoint(self._pass_ids)
        self._pass_ids |= ids
        return repeats

    def _looks_like_the_end(self, row_count: int, asked: Ask, brought_new: bool) -> bool:
        return row_count < asked.page_size and not (self._sends_short_pages and brought_new)

    def _follow(self, cursor: str, brought_new: bool) -> None:
        """Go on by time where it has advanced, else with the cursor, but not for ever and not in a circle."""
        self._barren_count = 0 if brought_new else self._barren_count + 1
        if self._barren_count > _BARREN_PAGE_LIMIT:
            raise self._stuck(f"{_BARREN_PAGE_LIMIT} pages in a row brought nothing new and still offer a next one")
        if self.ledger.reach is not None and self._edges.advance(self.ledger.reach):
            self._sweep_on()
        elif cursor in self._cursors_used:
            raise self._stuck("the API offers a cursor that was used before")
        else:
            self._cursors_used.add(cursor)
            self._cursor = cursor

    def _after_deep(self, depth: Depth, rule: End) -> None:
        """Leave a crowded instant when it is read: go on past it, or end where it was the last."""
        if depth.trouble is not None:
            raise self._stuck(depth.trouble)
        if not depth.is_done:
            return
        self._depth, beyond = None, self._beyond_depth
        if beyond is None:
            self._end(rule)
        elif self._edges.has_crossed(beyond, self.window):
            self._end(End.CROSSED)
        else:
            self._edges.advance(beyond)
            self.ledger.reach = beyond
            self._sweep_on(expects_rows=False)

    def _take_probe(self, records: list[AuditRecord], asked_count: int) -> list[AuditRecord]:
        """Judge the end by the same range read from the other side; late rows found behind the reach are taken."""
        unknown = [record for record in records if record not in self.ledger]
        ahead = [record for record in unknown if self._is_ahead(record)]
        late = self.ledger.absorb([record for record in unknown if not self._is_ahead(record)])
        behind_reach = any(not self._is_ahead(record) for record in records)
        if ahead:
            self._sends_short_pages = True
            self._advance("the API sends fewer rows than asked for")
        elif not records:
            self._ask_again("the same range is empty when it is read from the other side")
        elif behind_reach:
            self._end(End.OTHER_SIDE)
        else:
            self._doubt_one_instant(len(records) < asked_count)
        return self._keep(late)

    def _doubt_one_instant(self, other_side_is_short: bool) -> None:
        """All rows lie in one second, where both sides may hide the same row: ask for the row after the last."""
        if self._version is ApiVersion.V1:
            self._depth_range, self._beyond_depth = (self._edges.since_seconds, self._edges.before_seconds), None
            self._dive(seems_whole=other_side_is_short)
        elif other_side_is_short:
            self._end(End.OTHER_SIDE)
        else:
            raise self._stuck("the end lies within one instant that fills a page, and no next page is offered")

    def _advance(self, trouble: str) -> None:
        """Move the edge to the last second reached; where time cannot advance, go deep by page numbers."""
        if self._edges.advance(self._reach()):
            self._sweep_on()
        elif not self._pass_ids:
            self._ask_again(trouble)
            self._sweep_on()
        elif self._version is ApiVersion.V1:
            reach = self._reach()
            self._depth_range, self._beyond_depth = self._edges.around(reach), self._edges.beyond(reach)
            self._dive(seems_whole=False)
        else:
            raise self._stuck(trouble)

    def _ask_again(self, trouble: str) -> None:
        """Allow for an answer that contradicts those before it, a few times."""
        self._contradiction_count += 1
        if self._contradiction_count > _CONTRADICTION_LIMIT:
            raise self._stuck(trouble)

    def _sweep_on(self, *, expects_rows: bool = True) -> None:
        self._mode, self._cursor, self._expects_rows = _Mode.SWEEP, None, expects_rows
        self._pass_ids, self._cursors_used, self.ledger.pass_reach = set(), set(), None

    def _dive(self, *, seems_whole: bool) -> None:
        """Read the rest of a crowded instant by page numbers, from what this pass has brought of it."""
        self._mode = _Mode.DEEP
        self._depth = Depth(self._pass_ids, self._largest_page, seems_whole=seems_whole)

    def _end(self, rule: End) -> None:
        self._mode, self.ended_by = _Mode.DONE, rule

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
        return SourceProtocolError(
            f"Records could be lost here: {trouble}. Nothing of the window was written. Narrow the filters "
            "(for example by actor or action type) so that fewer records share the instant, or report it.",
            position=self._position(),
        )
