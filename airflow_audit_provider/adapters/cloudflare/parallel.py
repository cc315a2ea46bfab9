"""Slices of one window, fetched side by side, handed on in time order.

Knows: threads. Must not know: how a window is sliced (``core.slicing``), what is asked (``core.paging``).
Its one rule: the records that come out are the same, in the same order, whatever the concurrency; of slices under way
and held together there are at most twice as many as are fetched side by side, and besides one page of each stretch.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import chain, takewhile
from typing import NamedTuple, TypeAlias, cast

from airflow_audit_provider.adapters.cloudflare.reader import AuditLogReader
from airflow_audit_provider.core.api.query import AuditQuery, Direction
from airflow_audit_provider.core.api.read_stats import ReadStats
from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.core.limits import check_concurrency
from airflow_audit_provider.core.paging.slicing import Density, Segment, Slice, Slicer
from airflow_audit_provider.core.paging.window_reader import ReadOptions, WindowReader
from airflow_audit_provider.core.windows.window import TimeWindow


class _Fetched(NamedTuple):
    """What came of fetching a slice: its records in order, and the reading, which knows the rest."""

    records: list[AuditRecord]
    reading: WindowReader


class _Fetch(NamedTuple):
    """A slice under way or fetched; ``is_settled`` once its remainder stands behind it in the agenda."""

    piece: Slice
    future: Future[_Fetched]
    is_settled: bool = False

    @property
    def is_done(self) -> bool:
        """Whether it was fetched, or failed."""
        return self.future.done()

    @property
    def is_held(self) -> bool:
        """Whether its records wait for their turn; a scout holds a page, and may wait long, so it does not count."""
        return self.is_done and not self.piece.is_sample

    @property
    def has_failed(self) -> bool:
        """Whether fetching it ended in an error."""
        return self.is_done and self.future.exception() is not None


_Agenda: TypeAlias = list[_Fetch | Segment]


class ParallelReader:
    """Reads one window with several requests under way; ``tally`` sums what its slices cost.

    ``known_seconds`` is a whole second known to hold a record, none later than the window's first.
    Raises ``ConfigurationError`` for a concurrency outside 1 to 64.
    """

    def __init__(
        self,
        source: AuditLogReader,
        query: AuditQuery,
        window: TimeWindow,
        concurrency: int,
        known_seconds: int | None = None,
    ) -> None:
        check_concurrency(concurrency)
        self.tally = ReadStats()
        self._source = source
        self._query = query
        self._window = window
        self._concurrency = concurrency
        self._known_seconds = known_seconds
        self._slicer = Slicer(concurrency)
        self._stop = threading.Event()

    def read(self) -> Iterator[list[AuditRecord]]:
        """Yield the window's records in order, a slice at a time; raise the first error in time order."""
        pool = ThreadPoolExecutor(self._concurrency, thread_name_prefix="audit-log-slice")
        try:
            yield from self._in_order(pool)
        finally:
            self._stop.set()
            pool.shutdown(wait=False, cancel_futures=True)

    def _in_order(self, pool: ThreadPoolExecutor) -> Iterator[list[AuditRecord]]:
        """Consume the agenda from its front: slices under way, and stretches not cut into slices yet, in time order."""
        agenda: _Agenda = [Segment(self._window, Density())]
        while agenda:
            self._settle(agenda)
            self._fill(pool, agenda)
            # The front is always under way: it is the first to be filled in.
            front = cast("_Fetch", agenda[0])
            if front.is_settled or front.has_failed:
                del agenda[0]
                records, reading = front.future.result()
                self.tally.add(reading.tally)
                if records:
                    yield records
            else:
                # A front that came just now waits for one more as well: to look again at once costs 12 MB at the peak.
                wait([fetch.future for fetch in _fetches(agenda) if not fetch.is_done], return_when=FIRST_COMPLETED)

    def _settle(self, agenda: _Agenda) -> None:
        """Put what fetched slices have left behind them, to be read next."""
        for place, item in reversed(list(enumerate(agenda))):
            if isinstance(item, _Fetch) and item.is_done and not (item.is_settled or item.has_failed):
                records, reading = item.future.result()
                if self._known_seconds is None:
                    # Of the first page: no other slice is asked for before, and none begins earlier.
                    self._known_seconds = reading.known_seconds
                left = self._slicer.learn(item.piece, len(records), reading.remainder)
                agenda[place : place + 1] = [item._replace(is_settled=True), *left]

    def _fill(self, pool: ThreadPoolExecutor, agenda: _Agenda) -> None:
        """Keep as many slices under way as are fetched side by side, and a few more fetched that wait their turn."""
        while (place := _next_place(agenda)) is not None and (place == 0 or self._has_room(agenda, place)):
            piece, rest = self._slicer.split(cast("Segment", agenda[place]))
            agenda[place : place + 1] = [_Fetch(piece, pool.submit(self._fetch, piece)), *([rest] if rest else [])]

    def _has_room(self, agenda: _Agenda, place: int) -> bool:
        """Whether one more may be fetched.

        The agenda goes on while at most half as many are held as are fetched side by side. While more are, only what
        they wait for is fetched, the rest of slices that held more than was expected, until as many again are held.
        """
        under_way = sum(not fetch.is_done for fetch in _fetches(agenda))
        held = [at for at, item in enumerate(agenda) if isinstance(item, _Fetch) and item.is_held]
        is_waited_for = bool(held) and place < held[-1]
        return under_way < self._concurrency and len(held) <= self._concurrency // (1 if is_waited_for else 2)

    def _fetch(self, piece: Slice) -> _Fetched:
        horizon = TimeWindow(piece.window.start, self._window.end)
        shape = ReadOptions(pages_per_walk=piece.page_limit, stops_at_cut=True)
        reading = WindowReader(self._query.version, piece.window, Direction.ASC, shape, horizon, self._known_seconds)
        records = list(chain.from_iterable(self._source.read(self._query, reading, self._stop)))
        return _Fetched(records, reading)


def _fetches(agenda: _Agenda) -> list[_Fetch]:
    return [item for item in agenda if isinstance(item, _Fetch)]


def _next_place(agenda: _Agenda) -> int | None:
    """Return which stretch to cut next: the front, else one of unknown density, else the first; None for none.

    What lies behind a slice that failed is not read any more.
    """
    ahead = takewhile(lambda place: not _has_failed(agenda[place]), range(len(agenda)))
    stretches = [place for place in ahead if isinstance(agenda[place], Segment)]
    if 0 in stretches:
        return 0
    unknown = [place for place in stretches if cast("Segment", agenda[place]).is_unknown]
    return next(iter(unknown or stretches), None)


def _has_failed(item: _Fetch | Segment) -> bool:
    return isinstance(item, _Fetch) and item.has_failed
