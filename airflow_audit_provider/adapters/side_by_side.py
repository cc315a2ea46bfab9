"""Slices of one window, fetched side by side, handed on in time order.

Knows: threads. Must not know: how long a slice is (``core.slicing``), what is asked (``core.paging``).
Its one rule: the records that come out are the same, in the same order, whatever the concurrency; no more slices are
held than are fetched side by side.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, cast

from airflow_audit_provider.adapters.source import Source
from airflow_audit_provider.core.query import AuditQuery, Direction
from airflow_audit_provider.core.reading import Reading, ReadShape, ReadTally
from airflow_audit_provider.core.records import AuditRecord
from airflow_audit_provider.core.slicing import CUT_PAGES, Slicer
from airflow_audit_provider.core.window import TimeWindow
from airflow_audit_provider.exceptions import ConfigurationError

MAX_CONCURRENCY = 64
_SCOUT = ReadShape(pages_per_walk=1, stops_at_cut=True)
_SLICE = ReadShape(pages_per_walk=CUT_PAGES, stops_at_cut=True)


def refuse_concurrency(concurrency: int) -> None:
    """Raise ``ConfigurationError`` for a number of requests that cannot be under way together."""
    if not 1 <= concurrency <= MAX_CONCURRENCY:
        raise ConfigurationError(f"A concurrency of {concurrency} is impossible. Give 1 to {MAX_CONCURRENCY}.")


class _Slice(NamedTuple):
    """What came of fetching a slice: its records in order, and the reading, which knows the rest."""

    records: list[AuditRecord]
    reading: Reading

    @property
    def covered(self) -> TimeWindow:
        """The part of the slice that is read."""
        window, remainder = self.reading.window, self.reading.remainder
        return window if remainder is None else TimeWindow(window.start, remainder.start)


class SideBySide:
    """Reads one window with several requests under way; ``tally`` sums what its slices cost.

    Raises ``ConfigurationError`` for a concurrency outside 1 to 64.
    """

    def __init__(self, source: Source, query: AuditQuery, window: TimeWindow, concurrency: int) -> None:
        refuse_concurrency(concurrency)
        self.tally = ReadTally()
        self._source = source
        self._query = query
        self._window = window
        self._concurrency = concurrency
        self._slicer = Slicer()
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
        """Consume the agenda from its front: slices under way, and windows not cut into slices yet, in time order."""
        agenda: list[Future[_Slice] | TimeWindow] = [self._window]
        self._fill(pool, agenda)
        while agenda:
            # The front is always under way: whatever was put there last was the first to be filled in.
            done = cast("Future[_Slice]", agenda.pop(0)).result()
            self._slicer.learn(done.covered, len(done.records))
            if done.reading.remainder is not None:
                agenda.insert(0, done.reading.remainder)
            self._fill(pool, agenda)
            self.tally.add(done.reading.tally)
            if done.records:
                yield done.records

    def _fill(self, pool: ThreadPoolExecutor, agenda: list[Future[_Slice] | TimeWindow]) -> None:
        """Keep as many slices under way as are fetched side by side; only one while the density is unknown."""
        limit, shape = (1, _SCOUT) if self._slicer.is_scouting else (self._concurrency, _SLICE)
        while sum(isinstance(item, Future) for item in agenda) < limit:
            place, window = next(
                ((place, item) for place, item in enumerate(agenda) if isinstance(item, TimeWindow)), (0, None)
            )
            if window is None:
                return
            piece, rest = self._slicer.split(window)
            agenda[place : place + 1] = [pool.submit(self._fetch, piece, shape), *([rest] if rest else [])]

    def _fetch(self, window: TimeWindow, shape: ReadShape) -> _Slice:
        horizon = TimeWindow(window.start, self._window.end)
        reading = Reading(self._query.version, window, Direction.ASC, shape, horizon)
        records = [record for piece in self._source.read(self._query, reading, self._stop) for record in piece]
        return _Slice(records, reading)
