"""Reads a window with one paginator after another: bounded memory, records delivered in order.

Invariant: records leave sorted by (event time, id), one paginator at a time, so the same records give the same order
however the API paged them.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace

from airflow_audit_provider.core.api.history import HistoryStatus
from airflow_audit_provider.core.api.query import Direction, PageRequest
from airflow_audit_provider.core.api.read_stats import ReadStats
from airflow_audit_provider.core.api.records import AuditRecord, in_order, inside
from airflow_audit_provider.core.api.responses import Page
from airflow_audit_provider.core.paging.paginator import Paginator
from airflow_audit_provider.core.paging.read_request import ReadRequest
from airflow_audit_provider.core.paging.surplus_records import SurplusRecords
from airflow_audit_provider.core.paging.undated import UndatedOnce
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import ConfigurationError, SourceError

# Eight full pages: 8,000 records are in memory at most before a paginator is cut, unless one second holds more.
DEFAULT_PAGES_PER_CUT = 8
# Statements that end a reading without a proof, because they are about the resource and not about a range of time.
_NO_HISTORY = (HistoryStatus.UNAVAILABLE, HistoryStatus.NOT_FOUND)


class WindowReader:
    """Reads one window; drive it by ``next_request``, ``receive`` and ``receive_refusal`` like a paginator.

    ``pages_per_cut`` bounds the memory: after so many pages, the paginator is cut as soon as time has advanced. With
    ``stops_at_cut`` the first cut ends the reader and sets ``remainder`` to the window still to be read; ``surplus``
    then has the records received past the cut. ``known_second`` is the whole second of the furthest record read, as in
    :class:`ReadRequest`. ``trip_seconds`` is the time from request to response, summed over the responses.
    """

    def __init__(
        self, request: ReadRequest, *, pages_per_cut: int = DEFAULT_PAGES_PER_CUT, stops_at_cut: bool = False
    ) -> None:
        self.request = request
        self.stats = ReadStats()
        self.trip_seconds = 0.0
        self.remainder: TimeWindow | None = None
        self.known_second = request.known_second
        self.surplus = SurplusRecords()
        self._pages_per_cut = pages_per_cut
        self._stops_at_cut = stops_at_cut
        self._undated_once = UndatedOnce()
        self._start(request.window)

    def next_request(self) -> PageRequest | None:
        """Returns the next page to request, None once the whole window is read."""
        return self._paginator.next_request() if self._paginator is not None else None

    def receive(self, page: Page) -> list[AuditRecord]:
        """Processes the requested page; returns the records that became complete, sorted in the reading direction."""
        paginator = self._open_paginator()
        self._pending.extend(paginator.receive(page))
        self._page_count += 1
        self.stats.page_count += 1
        remainder = paginator.cut() if self._page_count >= self._pages_per_cut else None
        return [] if paginator.ended_by is None else self._finish(paginator, remainder)

    def receive_refusal(self, error: SourceError) -> list[AuditRecord]:
        """Handles a status 400, as ``Paginator.receive_refusal``; returns the records that became complete."""
        paginator = self._open_paginator()
        paginator.receive_refusal(error)
        self.stats.page_count += 1
        return [] if paginator.ended_by is None else self._finish(paginator, None)

    def _start(self, window: TimeWindow | None) -> None:
        """Starts the paginator of a window; None ends the reader."""
        self._paginator: Paginator | None = None
        if window is not None:
            # The horizon stays that of the whole window, so that its far end is queried from every remainder.
            horizon = self.request.query_window
            request = replace(self.request, window=window, horizon=horizon, known_second=self.known_second)
            self._paginator = Paginator(request)
        self._page_count = 0
        self._pending: list[AuditRecord] = []

    def _open_paginator(self) -> Paginator:
        if self._paginator is None:
            raise RuntimeError("the window is read and no further page is accepted")
        return self._paginator

    def _finish(self, paginator: Paginator, remainder: TimeWindow | None) -> list[AuditRecord]:
        """Closes a paginator and starts the next one.

        Records past a cut are read again: the next paginator knows that a record must show there. Those that do not
        show again are delivered as they were received.
        """
        stats, window, seen = self.stats, paginator.window, paginator.seen
        undated = self._undated_once.first_of(paginator.undated.inside(window))
        not_shown_again = paginator.not_shown_again
        missing = self.surplus.take_missing(window, seen.__contains__, stats)
        received = in_order([*self._pending, *not_shown_again, *missing])
        complete = inside(received, window)
        self._keep_surplus(paginator, received if len(complete) < len(received) else [])
        stats.seen_count += seen.seen_count + len(not_shown_again)
        stats.outside_count += paginator.outside_count + paginator.undated.count - len(undated)
        stats.repeated_count += seen.repeated_count + len(received) - len(complete)
        complete = in_order([*complete, *undated]) if undated else complete
        reason = str(paginator.ended_by)
        stats.ended_by[reason] = stats.ended_by.get(reason, 0) + 1
        self.remainder = remainder
        self.known_second = paginator.known_second
        self._start(None if self._stops_at_cut else remainder)
        return complete if self.request.direction is Direction.ASC else complete[::-1]

    def _keep_surplus(self, paginator: Paginator, received: list[AuditRecord]) -> None:
        """Keeps the records that lie past the paginator's window, in the reading direction, up to the horizon.

        ``received`` are sorted by event time. Of thousands, only a page lies past the window, so no other is looked at.
        """
        whole, read = self.request.query_window, paginator.window
        is_ascending = self.request.direction is Direction.ASC
        start, end = (read.end, whole.end) if is_ascending else (whole.start, read.start)
        if start < end:
            still_to_read = TimeWindow(start, end)
            first = bisect_left(received, still_to_read.start_ns, key=_event_ns)
            behind = bisect_left(received, still_to_read.end_ns, key=_event_ns)
            self.surplus.add(received[first:behind], still_to_read, are_outside=False)
            self.surplus.add(paginator.outside, still_to_read, are_outside=True)


class HistoryReader(WindowReader):
    """Reads the history of a resource inside one window; driven like any window reader.

    ``history_status`` is what the pages state, ``approximate`` if one of them does; None before the first one.
    """

    history_status: str | None = None

    def receive(self, page: Page) -> list[AuditRecord]:
        """Processes the requested page; one that states that there is no history is the last."""
        if page.history_status in _NO_HISTORY and self.stats.page_count == 0:
            self.history_status = page.history_status
            self.stats.page_count += 1
            self._start(None)
            return []
        if self.history_status != HistoryStatus.APPROXIMATE:
            self.history_status = page.history_status
        return super().receive(page)


class SinglePageReader:
    """Reads exactly one page as the API returns it, unfiltered and in the API's order.

    It is driven like a :class:`WindowReader`. ``page`` counts from 1 (version 1), ``cursor`` is version 2's token.
    ``received`` is the page, None before it has arrived.
    """

    def __init__(self, request: ReadRequest, page: int = 1, cursor: str | None = None) -> None:
        if page < 1:
            raise ConfigurationError(
                f"Page {page} does not exist. Pages count from 1: give a whole number of at least 1."
            )
        self.request = request
        self.stats = ReadStats()
        self.trip_seconds = 0.0
        self.received: Page | None = None
        since, before = request.window.whole_seconds()
        self._page_request: PageRequest | None = PageRequest(
            since, before, request.direction, request.page_size, page, cursor
        )

    def next_request(self) -> PageRequest | None:
        """Returns the page to request, None once it was received."""
        return self._page_request

    def receive(self, page: Page) -> list[AuditRecord]:
        """Returns the page's records."""
        self._page_request, self.received = None, page
        self.stats.page_count += 1
        return page.records

    def receive_refusal(self, error: SourceError) -> list[AuditRecord]:
        """Raises the error, because there is no other way to a single page."""
        raise error


def _event_ns(record: AuditRecord) -> int:
    return record.event_ns
