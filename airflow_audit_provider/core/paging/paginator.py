"""State machine that decides which page to request next and when the end of a window is proved; performs no I/O.

How it reads (``docs/adr/0001-page-protocol.md`` gives the reasons):

- **By time**: the last second of a page becomes the next start bound and is queried again with a margin of a second.
  This is correct for bounds of every kind, and for lists that grow or shrink elsewhere while they are read.
- **By page number** (version 1, ``offset_pager``) or **by cursor** (version 2, ``cursor_pager``), only while one second
  fills a page and time cannot advance. A cursor is also followed from an empty page.
- **Probe**: the same range requested in the opposite direction. Its first rows are the last ones of the range, so it
  shows rows that a short page or a lost cursor has hidden.
- **Exclude known**: within one second, version 2 is asked for every row but the known ones.
- **Wide probe** (``wide_probe``): rows of a month before or behind the range, where the range itself proves nothing.

Invariant: a record counts as read only when every record before it has been seen, and the end is accepted only with a
proof (``end_of_data``). Where continuing could lose a record or never end, ``SourceProtocolError`` is raised.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from airflow_audit_provider.core.api.query import MAX_PAGE_SIZE, Direction, PageRequest
from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord, has_digest_id, inside
from airflow_audit_provider.core.api.responses import Page
from airflow_audit_provider.core.paging.cursor_pager import CursorPager
from airflow_audit_provider.core.paging.end_of_data import (
    MAX_EXCLUDED_IDS,
    MIN_MIRRORED_ROWS,
    EndOfData,
    StopReason,
    is_mirrored,
)
from airflow_audit_provider.core.paging.errors import conflicting_records, no_progress, page_error
from airflow_audit_provider.core.paging.offset_pager import CrowdedRegion, OffsetPager
from airflow_audit_provider.core.paging.page_size import PageSizer
from airflow_audit_provider.core.paging.progress_guard import ProgressGuard
from airflow_audit_provider.core.paging.query_bounds import QueryBounds
from airflow_audit_provider.core.paging.read_request import ReadRequest
from airflow_audit_provider.core.paging.seen_records import PageContinuity, SeenRecords
from airflow_audit_provider.core.paging.undated import UndatedRecords, only_dated
from airflow_audit_provider.core.paging.wide_probe import WideProbe, shows_order
from airflow_audit_provider.core.windows.window import SECOND_NS, TimeWindow, format_second
from airflow_audit_provider.exceptions import SourceError, SourceProtocolError

# Rows that a probe requests beyond those of the last known second: enough to show a row before that second.
_PROBE_EXTRA_ROWS = 10
_CROWDED_END = "the end lies within one crowded second, and the API returned no cursor"


class _Mode(StrEnum):
    TIME = "by time"
    OFFSET = "by page number"
    PROBE = "probe"
    CURSOR = "by cursor"
    EXCLUDE_KNOWN = "exclude known"
    WIDE_PROBE = "wide probe"


# Modes whose pages are not read on from: they only show whether a range is complete.
_PROOF_MODES = (_Mode.PROBE, _Mode.EXCLUDE_KNOWN, _Mode.WIDE_PROBE)


class Paginator:
    """Reads one window; drive it by ``next_request``, ``receive`` and ``receive_refusal``.

    Memory grows with the records seen. A long window is therefore split by :meth:`cut`, which ends this paginator and
    returns the remainder for the next one. ``ended_by`` is set at the end, ``window`` is then what was read, and
    ``outside`` has the records received that lie outside of the window.
    """

    def __init__(self, request: ReadRequest) -> None:
        self.window = request.window
        self.ended_by: StopReason | None = None
        self.outside: list[AuditRecord] = []
        self._version = request.version
        self._direction = request.direction
        self._known_second = request.known_second
        self._page_sizer = PageSizer(request)
        self._bounds = QueryBounds(request)
        self._mode = _Mode.TIME
        # Without a known record, nothing is known to be reached before the first page.
        first_second = None if request.known_second is None else self._bounds.first_second
        self.seen = SeenRecords(request.direction.sign, first_second)
        self.undated = UndatedRecords(self._bounds.range)
        self._pages = PageContinuity(self.seen.signed_second)
        self._end_of_data = EndOfData(accepts_empty=not request.proves_empty and request.known_second is None)
        self._offset_pager: OffsetPager | None = None
        self._cursor_pager: CursorPager | None = None
        # The range that is read by page number or cursor, or whose end is proved; None if it is the rest of the window.
        self._crowded_range = self._bounds.range
        self._second_after_crowded_range: int | None = None
        self._wide_probe: WideProbe | None = None
        self._shown_ahead: dict[str, AuditRecord] = {}
        self._progress = ProgressGuard()

    def next_request(self) -> PageRequest | None:
        """Returns the next page to request, None once the window is read."""
        if self.ended_by is not None:
            return None
        if self._mode in _PROOF_MODES:
            return self._proof_request()
        if self._offset_pager is not None:
            return self._offset_pager.request(self._direction, self._crowded_range, self._bounds)
        if self._cursor_pager is not None:
            return self._cursor_pager.request(self._direction, self._crowded_range, self._bounds)
        cursor = self._pages.cursor
        row_count = self._page_sizer.row_count(self.seen, cursor)
        return PageRequest(*self._bounds.range, self._direction, row_count, 1, cursor)

    def _proof_request(self) -> PageRequest:
        """Returns the request for a page whose rows only show whether the range is complete."""
        if self._mode is _Mode.EXCLUDE_KNOWN:
            known = tuple(record.id for record in self._shown_records())
            return PageRequest(*self._crowded_range, self._direction, _PROBE_EXTRA_ROWS, without_ids=known)
        if self._wide_probe is not None:
            return self._wide_probe.request(min(MAX_PAGE_SIZE, len(self._shown_records()) + _PROBE_EXTRA_ROWS))
        row_count = min(MAX_PAGE_SIZE, self.seen.count_at_furthest_second() + _PROBE_EXTRA_ROWS)
        return PageRequest(*self._bounds.probe_range(), self._direction.opposite, row_count)

    def receive(self, page: Page) -> list[AuditRecord]:
        """Processes the requested page; returns its new dated records inside the window, each id once, as they arrived.

        Where an undated record belongs is known only at the end, from ``undated``.
        """
        requested = self.next_request()
        if requested is None:
            raise RuntimeError("the paginator is done and accepts no page")
        page = page._replace(records=self.undated.placed(page.records, requested))
        error = page_error(page.records, requested, self._position())
        if error is not None:
            self._receive_wrong_page(error)
            return []
        if self._mode in _PROOF_MODES:
            return self._receive_proof(page, requested.page_size)
        new_records = self.seen.add(page.records)
        self._check_conflict()
        if page.records:
            self._raise_if(self._progress.note_page(has_new_records=bool(new_records)))
        if self._offset_pager is not None:
            self._offset_pager.receive(page.records)
            self._after_offset_page(self._offset_pager)
        elif self._cursor_pager is not None:
            self._after_page_by_cursor(self._cursor_pager, page, requested)
        else:
            self.seen.advance(page.records)
            self._pages.accepts(page.records)
            self._after_page_by_time(page, requested, bool(new_records))
        return self._keep_inside(new_records)

    def receive_refusal(self, error: SourceError) -> None:
        """Handles a status 400: finds another way to the same records, or raises ``error``."""
        if self._offset_pager is not None:
            self._offset_pager.receive_refusal()
            self._after_offset_page(self._offset_pager)
        elif self._mode is _Mode.EXCLUDE_KNOWN:
            self._start_wide_probe(self._no_progress(_CROWDED_END))
        elif self._wide_probe is not None:
            self._wide_probe.receive_refusal(error)
            self._after_wide_probe(self._wide_probe)
        elif self._cursor is not None:
            # How long a cursor is valid is not documented. One is followed only where time cannot advance, so there is
            # no other way to the rows behind it.
            raise self._no_progress(f"the API refused its own cursor ({error.message})")
        else:
            raise error

    @property
    def known_second(self) -> int | None:
        """The whole second of the furthest record seen; that of the request before any was seen."""
        last_second = self.seen.last_record_second
        return self._known_second if last_second is None else self._direction.sign * last_second

    @property
    def outside_count(self) -> int:
        """Number of records received that lie outside of the window."""
        return len(self.outside)

    @property
    def not_shown_again(self) -> list[AuditRecord]:
        """Dated records that a proof showed and that reading on did not: received, and missing from later responses."""
        return only_dated([record for record in self._shown_ahead.values() if record not in self.seen])

    def cut(self) -> TimeWindow | None:
        """Ends the paginator where time has advanced; returns the window still to be read, None if it cannot be cut.

        Records in the remainder that ``receive`` has already returned are read again: keep those in ``window`` only.
        """
        if self.ended_by is not None or self._mode is not _Mode.TIME or self.seen.furthest_second is None:
            return None
        boundary = self._bounds.complete_up_to(self.seen.furthest_second)
        if not self.window.start < boundary < self.window.end:
            return None
        before, after = TimeWindow(self.window.start, boundary), TimeWindow(boundary, self.window.end)
        self.window, remainder = (before, after) if self._direction.sign > 0 else (after, before)
        self.ended_by = StopReason.CUT
        return remainder

    def _receive_proof(self, page: Page, requested_count: int) -> list[AuditRecord]:
        if self._wide_probe is not None:
            return self._receive_wide_probe(self._wide_probe, page.records)
        if self._mode is _Mode.PROBE:
            return self._receive_probe(page.records, requested_count)
        return self._receive_excluding_known(page)

    def _receive_wrong_page(self, error: SourceProtocolError) -> None:
        """Handles a page out of order or out of its bounds; raises unless another way to a proof is left."""
        if self._wide_probe is not None:
            self._wide_probe.receive_wrong_page()
            self._after_wide_probe(self._wide_probe)
        elif self._mode is _Mode.PROBE:
            # The other side cannot be read. What follows in the reading direction may show the end as well.
            self._bounds.advance(self._furthest_second())
            self._take_rest_as_crowded_range()
            self._start_wide_probe(error, goes_on=True)
        else:
            raise error

    def _keep_inside(self, records: list[AuditRecord]) -> list[AuditRecord]:
        """Returns the records inside the window and keeps the others apart; ``undated`` keeps those without a time."""
        records = only_dated(records)
        kept = inside(records, self.window)
        if len(kept) < len(records):
            start_ns, end_ns = self.window.start_ns, self.window.end_ns
            self.outside += [record for record in records if not start_ns <= record.event_ns < end_ns]
        return kept

    def _check_conflict(self, records: Sequence[AuditRecord] = ()) -> None:
        for record in records:
            self.seen.compare(record)
        if self.seen.conflict is not None:
            raise conflicting_records(self.seen.conflict, self._position())

    def _after_page_by_time(self, page: Page, requested: PageRequest, has_new_records: bool) -> None:
        if page.records and self._bounds.is_past(self.window, self._furthest_second()):
            # Pages are sorted by time, so a row past the window shows that every row inside came before it.
            self.ended_by = StopReason.PAST_WINDOW
        elif self._page_sizer.is_reduced(requested.page_size) and not self._bounds.can_advance(self._furthest_second()):
            self._page_sizer.use_full_pages()
            self._continue_by_time()
        else:
            self._decide_next(page, requested.page_size, has_new_records)

    def _decide_next(self, page: Page, requested_count: int, has_new_records: bool) -> None:
        proof = self._end_of_data.note_page(page, requested_count)
        if page.cursor is not None:
            self._follow_cursor(page.cursor, has_new_records)
        elif proof is not None:
            self.ended_by = proof
        elif self._version is ApiVersion.V1 and self._end_of_data.suggests_more(
            len(page.records), requested_count, has_new_records=has_new_records
        ):
            self._advance("a full page lies within one second")
        else:
            # Cloudflare API docs, v1: the response has no `result_info`, so neither a total nor a page count. A short
            # page is no proof in either version: a server may return fewer rows than requested.
            self._mode = _Mode.PROBE

    def _follow_cursor(self, cursor: str, has_new_records: bool) -> None:
        """Continues by time where it has advanced, else with the cursor, but neither endlessly nor in a circle.

        Time is preferred because a cursor's expiry, snapshot and order of ties are not documented; two bounds depend on
        none of them.
        """
        self._raise_if(self._progress.note_cursor(has_new_records=has_new_records))
        if self.seen.furthest_second is not None and self._bounds.advance(self.seen.furthest_second):
            self._continue_by_time()
            return
        if not self._pages.follow(cursor):
            # Whether a cursor can repeat is not documented. Following one twice would read in a circle.
            raise self._no_progress("the API returned a cursor that was used before")
        if self._pages.ids:
            self._start_reading_by_cursor()

    def _start_reading_by_cursor(self) -> None:
        """Reads a crowded second by cursor, starting with the rows of the current query."""
        self._set_crowded_range()
        self._mode = _Mode.CURSOR
        self._cursor_pager = CursorPager(
            self.seen.signed_second,
            self._bounds.open_second,
            self._second_after_crowded_range,
            self._pages,
            self.seen.records_from(self._bounds.open_second),
            self._page_sizer.full_page_size,
        )

    def _after_page_by_cursor(self, pager: CursorPager, page: Page, requested: PageRequest) -> None:
        """Leaves a crowded second once two passes agree on it; where both may omit a row, asks for another proof."""
        proof = self._end_of_data.note_page(page, requested.page_size)
        if not pager.is_opposite:
            self.seen.advance(page.records)
        pager.receive(page, states_end=proof is not None)
        self._raise_if(pager.problem)
        if not (pager.is_done or pager.needs_other_proof):
            return
        self._cursor_pager = None
        if pager.is_open_ended:
            self._take_rest_as_crowded_range()
        if pager.is_done:
            self._leave_crowded_range(StopReason.OTHER_SIDE)
        else:
            self._exclude_known()

    def _after_offset_page(self, offset_pager: OffsetPager) -> None:
        """Leaves a crowded second once it is read by page number."""
        if offset_pager.problem is not None:
            self._offset_pager, problem = None, self._no_progress(offset_pager.problem)
            if not offset_pager.needs_no_page:
                raise problem
            # A server that ignores `page` shows its first page for every number.
            self._start_wide_probe(problem)
        elif offset_pager.is_done:
            self._offset_pager = None
            self._leave_crowded_range(offset_pager.stop_reason)

    def _leave_crowded_range(self, reason: StopReason) -> None:
        """Continues after a crowded range, or ends if it was the last."""
        next_second = self._second_after_crowded_range
        self._page_sizer.use_given_pages()
        if next_second is None:
            self.ended_by = reason
        elif self._bounds.is_past(self.window, next_second):
            self.ended_by = StopReason.PAST_WINDOW
        else:
            self._bounds.advance(next_second)
            self.seen.furthest_second = next_second
            self._continue_by_time()

    def _receive_probe(self, records: list[AuditRecord], requested_count: int) -> list[AuditRecord]:
        """Decides by the last rows of the range; returns late records that appeared behind the reached second."""
        self._check_conflict(records)
        unknown = [record for record in records if record not in self.seen]
        ahead = [record for record in unknown if self._is_ahead(record)]
        late = self.seen.add([record for record in unknown if not self._is_ahead(record)])
        self._shown_ahead.update((record.id, record) for record in ahead)
        shows_earlier_second = any(not self._is_ahead(record) for record in records)
        if ahead:
            # Observed: version 2 pages that never exceed 100 rows whatever `limit` is requested.
            self._end_of_data.sends_short_pages |= bool(self._pages.ids)
            self._advance("the API returns fewer rows than requested")
        elif not records and self.seen.furthest_second is None:
            self._start_wide_probe(self._no_progress(_CROWDED_END))
        elif not records:
            self._contradict("the same range is empty when it is read from the other side")
        elif shows_earlier_second and not shows_order(records, self.seen.last_records()):
            self._contradict("the other side of the same range does not show its last rows")
        elif shows_earlier_second:
            # The probe's rows are consecutive and reach back to a complete second: nothing is hidden in between.
            self.ended_by = StopReason.OTHER_SIDE
        else:
            self._decide_within_one_second(records, requested_count)
        return self._keep_inside(late)

    def _decide_within_one_second(self, records: Sequence[AuditRecord], requested_count: int) -> None:
        """Decides where all rows lie in one second, in which both directions may omit the same row."""
        mirrored = is_mirrored(self.seen.ids, records)
        self._take_rest_as_crowded_range()
        if self._version is ApiVersion.V1:
            # So few rows are less than any depth at which an API stops paging.
            is_shallow = len(records) < MIN_MIRRORED_ROWS
            self._start_offset_paging(probe_agrees=len(records) < requested_count and (mirrored or is_shallow))
        elif mirrored:
            self.ended_by = StopReason.OTHER_SIDE
        else:
            self._exclude_known()

    def _exclude_known(self) -> None:
        """Asks for every row of the crowded range but the known ones, if so many can be excluded."""
        if len(self._shown_records()) > MAX_EXCLUDED_IDS:
            raise self._no_progress(_CROWDED_END)
        # Cloudflare API docs, v2 `id.not`: "Filters out audit logs by their IDs."
        self._mode = _Mode.EXCLUDE_KNOWN

    def _receive_excluding_known(self, page: Page) -> list[AuditRecord]:
        """Leaves the range if there is no other row; known rows show that the API ignores the filter."""
        self._check_conflict(page.records)
        # The API does not know the digest that stands for a missing or odd id, so it shows such a record again.
        others = [record for record in page.records if record not in self.seen or not has_digest_id(record)]
        if not others and page.cursor is None and len(page.records) < _PROBE_EXTRA_ROWS:
            self._leave_crowded_range(StopReason.ONLY_KNOWN_ROWS)
        elif page.records and all(record in self.seen for record in page.records):
            # A filter that is ignored proves nothing, neither by these rows nor by their absence.
            self._start_wide_probe(self._no_progress(_CROWDED_END))
        else:
            raise self._no_progress("the API hides rows of one second")
        return []

    def _start_wide_probe(self, problem: SourceProtocolError, *, goes_on: bool = False) -> None:
        """Looks for a record of the past month, or with ``goes_on`` in reading direction, next to the range's rows."""
        if self.seen.furthest_second is None:
            self._take_rest_as_crowded_range()
        shown, first_second = self._shown_records(), self._crowded_range[0] + 1
        if self._direction is Direction.ASC:
            first_second = min((record.event_second for record in shown), default=first_second)
        self._mode = _Mode.WIDE_PROBE
        looks_later, first_ns = goes_on and self._direction is Direction.ASC, first_second * SECOND_NS
        self._wide_probe = WideProbe(
            self._bounds, self._crowded_range, shown, first_ns, problem, looks_later=looks_later
        )

    def _receive_wide_probe(self, wide_probe: WideProbe, records: list[AuditRecord]) -> list[AuditRecord]:
        """Decides by the rows around the range in question."""
        self._check_conflict(records)
        wide_probe.receive(records, self.seen)
        self._shown_ahead.update((record.id, record) for record in wide_probe.ahead)
        if wide_probe.ahead:
            self._wide_probe = None
            self._contradict("rows appear that the same range did not show before")
            self._continue_by_time()
        else:
            self._after_wide_probe(wide_probe)
        return []

    def _after_wide_probe(self, wide_probe: WideProbe) -> None:
        if wide_probe.problem is not None:
            if self._version is ApiVersion.V1 or not self._page_sizer.use_smaller_pages(len(self._shown_records())):
                raise wide_probe.problem
            # Pages that end elsewhere show a row that lay just behind the end of a page.
            self._wide_probe = None
            self._continue_by_time()
        elif wide_probe.proof is not None:
            self._wide_probe = None
            self._leave_crowded_range(wide_probe.proof)

    def _shown_records(self) -> list[AuditRecord]:
        """Returns the known records that the current range can show, also in its margin of a second."""
        return self.seen.records_from(self._bounds.open_second - 1)

    def _advance(self, problem: str) -> None:
        """Moves the start bound to the reached second; where time cannot advance, reads by page number."""
        furthest_second = self._furthest_second()
        if self._bounds.advance(furthest_second):
            self._continue_by_time()
        elif not self._pages.ids:
            self._contradict(problem)
            self._continue_by_time()
        elif self._version is ApiVersion.V1:
            self._set_crowded_range()
            self._start_offset_paging(probe_agrees=False)
        else:
            raise self._no_progress(problem)

    def _contradict(self, problem: str) -> None:
        self._raise_if(self._progress.note_contradiction(problem))

    def _take_rest_as_crowded_range(self) -> None:
        self._crowded_range, self._second_after_crowded_range = self._bounds.range, None

    def _set_crowded_range(self) -> None:
        """Narrows the range to the reached second, where time cannot advance."""
        furthest_second = self._furthest_second()
        self._crowded_range = self._bounds.offset_range(furthest_second)
        self._second_after_crowded_range = self._bounds.second_after_offset_range(furthest_second)

    def _continue_by_time(self) -> None:
        self._mode, self._pages = _Mode.TIME, PageContinuity(self.seen.signed_second)

    def _start_offset_paging(self, *, probe_agrees: bool) -> None:
        """Reads the rest of a crowded second by page number, starting from the rows of the current query."""
        self._mode = _Mode.OFFSET
        # A server may send more rows than requested, and refuses a request for as many.
        row_limit = min(self._page_sizer.full_page_size, self._end_of_data.largest_page)
        region = CrowdedRegion(
            self.seen.second_of,
            self.seen.signed_second,
            self._bounds.open_second,
            self._bounds.second_behind(self._second_after_crowded_range),
        )
        self._offset_pager = OffsetPager(self._pages.ids, row_limit, probe_agrees=probe_agrees, region=region)

    def _is_ahead(self, record: AuditRecord) -> bool:
        """Returns whether reading still comes to a record: only seconds before the reached one are complete."""
        return self.seen.signed_second(record) >= self._furthest_second()

    def _furthest_second(self) -> int:
        """Returns the signed second that reading has reached; before any record, that of the window's start."""
        furthest_second = self.seen.furthest_second
        return self._bounds.first_second if furthest_second is None else furthest_second

    @property
    def _cursor(self) -> str | None:
        """The cursor that is being followed."""
        return self._cursor_pager.cursor if self._cursor_pager is not None else self._pages.cursor

    def _position(self) -> str:
        since, before = map(format_second, self._bounds.range)
        return f"{self._direction} {self._mode} in {self.window}, since {since} before {before}"

    def _raise_if(self, problem: str | None) -> None:
        """Raises if there is a problem that reading cannot go on with."""
        if problem is not None:
            raise self._no_progress(problem)

    def _no_progress(self, problem: str) -> SourceProtocolError:
        return no_progress(problem, self._position())
