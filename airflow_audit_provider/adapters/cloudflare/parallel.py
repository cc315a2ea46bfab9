"""Reads one window in slices that are fetched in parallel by threads and delivered in time order.

Invariant: the records and their order are the same for every concurrency. The slices that are being fetched or waiting
for their turn number at most twice the concurrency, besides one sampled page of each segment: memory stays bounded.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from itertools import chain, takewhile
from typing import NamedTuple, TypeAlias, cast

from airflow_audit_provider.adapters.cloudflare.reader import AuditLogReader
from airflow_audit_provider.core.api.query import AuditQuery
from airflow_audit_provider.core.api.read_stats import ReadStats
from airflow_audit_provider.core.api.records import AuditRecord, in_order
from airflow_audit_provider.core.limits import check_concurrency
from airflow_audit_provider.core.paging.read_request import ReadRequest
from airflow_audit_provider.core.paging.slicing import Density, Segment, Slice, Slicer
from airflow_audit_provider.core.paging.surplus_records import SurplusRecords
from airflow_audit_provider.core.paging.window_reader import WindowReader
from airflow_audit_provider.core.windows.window import TimeWindow


class _Fetched(NamedTuple):
    """The records of a slice in order, and the reader with its statistics and remainder."""

    records: list[AuditRecord]
    window_reader: WindowReader


class Section(NamedTuple):
    """The next part of the window that is read completely: its records in order, and what reading it cost."""

    window: TimeWindow
    records: list[AuditRecord]
    stats: ReadStats


class _Fetch(NamedTuple):
    """A slice being fetched or waiting for its turn; ``is_settled`` once its remainder follows it in the queue."""

    part: Slice
    future: Future[_Fetched]
    is_settled: bool = False

    @property
    def is_done(self) -> bool:
        """Whether fetching ended, with records or with an error."""
        return self.future.done()

    @property
    def is_waiting(self) -> bool:
        """Whether its records wait for their turn. A sample is one page and may wait long, so it does not count."""
        return self.is_done and not self.part.is_sample

    @property
    def has_failed(self) -> bool:
        """Whether fetching ended in an error."""
        return self.is_done and self.future.exception() is not None


_Queue: TypeAlias = list[_Fetch | Segment]


class ParallelReader:
    """Reads one window with several requests at once; ``stats`` sums the statistics of its slices.

    Raises ``ConfigurationError`` for a concurrency outside 1 to 64.
    """

    def __init__(self, reader: AuditLogReader, query: AuditQuery, request: ReadRequest, concurrency: int) -> None:
        check_concurrency(concurrency)
        self.stats = ReadStats()
        self._reader = reader
        self._query = query
        self._request = request
        self._concurrency = concurrency
        self._slicer = Slicer(concurrency)
        self._stop = threading.Event()
        self._surplus = SurplusRecords()

    def read(self) -> Iterator[list[AuditRecord]]:
        """Yields the window's records in order, one slice at a time; raises the first error in time order."""
        for section in self.sections():
            if section.records:
                yield section.records

    def sections(self) -> Generator[Section]:
        """Yields the window in sections that follow each other without a gap, also those without records.

        Everything before the end of a section is read. Raises the first error in time order.
        """
        pool = ThreadPoolExecutor(self._concurrency, thread_name_prefix="audit-log-slice")
        try:
            yield from self._read_in_order(pool)
        finally:
            self._stop.set()
            pool.shutdown(wait=False, cancel_futures=True)

    def _read_in_order(self, pool: ThreadPoolExecutor) -> Iterator[Section]:
        """Consumes the queue from its front; it holds fetches and segments not yet cut into slices, in time order."""
        queue: _Queue = [Segment(self._request.window, Density())]
        while queue:
            self._settle(queue)
            self._fill(pool, queue)
            # The front is always a fetch, because it is filled first.
            front = cast("_Fetch", queue[0])
            if front.is_settled or front.has_failed:
                del queue[0]
                yield self._complete(front.part, *front.future.result())
            else:
                # Waits for another fetch even if the front has just finished: checking again at once costs 12 MB of
                # peak memory (measured).
                wait([fetch.future for fetch in _fetches(queue) if not fetch.is_done], return_when=FIRST_COMPLETED)

    def _complete(self, part: Slice, records: list[AuditRecord], window_reader: WindowReader) -> Section:
        """Returns a slice's records and those that the slices before received in it and it did not show again."""
        stats, remainder = window_reader.stats, window_reader.remainder
        read = part.window if remainder is None else TimeWindow(part.window.start, remainder.start)
        ids = {record.id for record in records}
        missing = self._surplus.take_missing(read, lambda record: record.id in ids, stats)
        self._surplus.add_all(window_reader.surplus)
        self.stats.add(stats)
        return Section(read, in_order(records + missing) if missing else records, stats)

    def _settle(self, queue: _Queue) -> None:
        """Inserts the remainders of fetched slices behind them, to be read next."""
        for index, item in reversed(list(enumerate(queue))):
            if isinstance(item, _Fetch) and item.is_done and not (item.is_settled or item.has_failed):
                records, window_reader = item.future.result()
                self._slicer.note_throttling(window_reader.stats.throttled_seconds, window_reader.trip_seconds)
                if self._request.known_second is None:
                    # From the first page: no other slice is requested before it, and none starts earlier.
                    self._request = replace(self._request, known_second=window_reader.known_second)
                remainder = self._slicer.learn(item.part, len(records), window_reader.remainder)
                queue[index : index + 1] = [item._replace(is_settled=True), *remainder]

    def _fill(self, pool: ThreadPoolExecutor, queue: _Queue) -> None:
        """Starts as many fetches as are worth while, as long as not too many fetched slices wait for their turn."""
        while (index := _next_segment(queue)) is not None and (index == 0 or self._has_room(queue, index)):
            part, rest = self._slicer.split(cast("Segment", queue[index]))
            queue[index : index + 1] = [_Fetch(part, pool.submit(self._fetch, part)), *rest]

    def _has_room(self, queue: _Queue, index: int) -> bool:
        """Returns whether the segment at ``index`` may be fetched now.

        Usually, fetching goes on while at most half the concurrency is waiting. Once more slices wait, only what they
        wait for is fetched (remainders of slices that were denser than expected), up to the concurrency.
        """
        running_count = sum(not fetch.is_done for fetch in _fetches(queue))
        waiting = [at for at, item in enumerate(queue) if isinstance(item, _Fetch) and item.is_waiting]
        is_waited_for = bool(waiting) and index < waiting[-1]
        max_waiting = self._concurrency // (1 if is_waited_for else 2)
        return running_count < self._slicer.fetch_limit and len(waiting) <= max_waiting

    def _fetch(self, part: Slice) -> _Fetched:
        horizon = TimeWindow(part.window.start, self._request.window.end)
        request = replace(self._request, window=part.window, horizon=horizon)
        window_reader = WindowReader(request, pages_per_cut=part.page_limit, stops_at_cut=True)
        records = list(chain.from_iterable(self._reader.read(self._query, window_reader, self._stop)))
        return _Fetched(records, window_reader)


def _fetches(queue: _Queue) -> list[_Fetch]:
    return [item for item in queue if isinstance(item, _Fetch)]


def _next_segment(queue: _Queue) -> int | None:
    """Returns the index of the segment to cut next: the front, else one without a sample, else the first.

    Returns None if there is no segment. What follows a failed slice is not read any more.
    """
    before_failure = takewhile(lambda index: not _has_failed(queue[index]), range(len(queue)))
    segments = [index for index in before_failure if isinstance(queue[index], Segment)]
    if 0 in segments:
        return 0
    without_sample = [index for index in segments if cast("Segment", queue[index]).needs_sample]
    return next(iter(without_sample or segments), None)


def _has_failed(item: _Fetch | Segment) -> bool:
    return isinstance(item, _Fetch) and item.has_failed
