"""One reading of an audit log for all its watchers in a triggerer, each with a mark of its own.

Knows: what a shared stream asks of who produces it, and an asset's state store. Must not know: what makes a record new
(``core.news``), which records a watcher wants.
Its one rule: a mark is kept only when Airflow has stored the events of what lies before it; what is told twice is
better than what is not told.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Hashable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, NamedTuple

from airflow_audit_provider.core.ports import Clock
from airflow_audit_provider.core.watch.new_records import NewRecords, WatchPosition
from airflow_audit_provider.core.watch.polling import PollBackoff, PollSchedule
from airflow_audit_provider.exceptions import SourceUnavailableError
from airflow_audit_provider.pipelines.watch import ErrorCallback

Follow = Callable[[WatchPosition | None], AsyncGenerator[NewRecords, None]]
# Airflow ends a watcher that leaves a look standing for 300 s ([triggerer] shared_stream_ack_timeout).
_BEGINNING_SECONDS = 90.0


@dataclass
class SharedPoll:
    """One look as all watchers get it.

    ``is_stored`` is None while a watcher is at it, then whether Airflow has stored every event they made of it.
    """

    news: NewRecords
    is_first: bool
    is_stored: bool | None = None


class SharedPollProducer:
    """Looks for all watchers of a log; what Airflow 3.3 calls a ``SharedStreamProducer``, which older ones lack."""

    def __init__(self, follow: Follow) -> None:
        self._follow = follow

    async def open_stream(self) -> AsyncIterator[tuple[SharedPoll, SharedPoll]]:
        """Yield every look twice: for the watchers, and as what :meth:`advance` is to be told; never ends."""
        is_first = True
        async with aclosing(self._follow(None)) as looks:
            async for news in looks:
                shared = SharedPoll(news, is_first)
                is_first = False
                yield shared, shared

    async def advance(self, resolved: Sequence[Any]) -> None:
        """Note what is stored. A watcher for whom it failed is started anew by Airflow, from the mark that is kept."""
        for item in resolved:
            item.broker_payload.is_stored = item.outcome.failed == 0

    def get_advance_lane(self, _payload: object) -> Hashable:
        """Say that all looks stand in one line."""
        return None

    async def aclose(self) -> None:
        """Do nothing: every look opens and closes its own connection."""


class PositionStore:
    """Where a watcher's mark is kept: an asset's state store (Airflow 3.3), or nowhere."""

    def __init__(self, state: Any, key: str, log: Any) -> None:
        self._state = state
        self._key = key
        self._log = log

    async def load(self) -> WatchPosition | None:
        """Return the mark that was kept, None where there is none; raises what the store raises."""
        if self._state is None:
            return None
        try:
            kept = await self._state.aget(self._key)
        except ValueError as error:
            self._log.warning("The mark is not kept, one trigger watches for several assets: %s", error)
            self._state = None
            return None
        mark = WatchPosition.from_state(kept)
        if kept is not None and mark is None:
            self._log.error("What is kept under %s is no mark, so watching begins anew: %.200r", self._key, kept)
        return mark

    async def keep(self, mark: WatchPosition) -> None:
        """Keep a mark; where that fails the one before stays, and some events are told again after a restart."""
        if self._state is None:
            return
        try:
            await self._state.aset(self._key, mark.to_state())
        except Exception as error:  # noqa: BLE001 - an escaping error would end the watcher
            self._log.warning("The mark could not be kept: %r", error)


class CatchUpReader(NamedTuple):
    """How one watcher looks by himself: from where without a kept mark, how often, and whom he tells of failures."""

    look: Callable[[WatchPosition | None], Awaitable[NewRecords]]
    first: WatchPosition
    rhythm: PollSchedule
    clock: Clock
    complain: ErrorCallback


class CatchUp:
    """The way from the kept mark to now, gone look by look; what fails is tried again at a later one of the reading.

    No try lasts long, and after one that failed nothing is tried for a pause in which the looks that came meanwhile are
    let pass: whoever leaves them standing is ended by Airflow.
    """

    def __init__(self, marks: PositionStore, reader: CatchUpReader) -> None:
        self._marks = marks
        self._reader = reader
        self._pace = PollBackoff(reader.rhythm)
        self._mark: WatchPosition | None = None
        self._not_before = 0.0
        self.is_over = False

    async def take(self, shared: SharedPoll) -> AsyncIterator[NewRecords]:
        """Yield what happened since the kept mark; others on this reading may have been told of it before."""
        clock = self._reader.clock
        until = clock.monotonic() + _BEGINNING_SECONDS
        while not self.is_over and clock.monotonic() >= self._not_before:
            try:
                news = await self._in_time(shared, until - clock.monotonic())
            except Exception as error:  # noqa: BLE001 - to begin without the mark could lose records
                pause = self._pace.after_failure(error)
                self._not_before = clock.monotonic() + pause
                self._reader.complain(error, pause)
            else:
                self._mark, self.is_over = news.mark, news.is_complete
                self._pace.after_look()
                yield news

    async def _in_time(self, shared: SharedPoll, seconds: float) -> NewRecords:
        try:
            async with asyncio.timeout(seconds):
                return await self._next(shared)
        except TimeoutError as error:
            raise SourceUnavailableError(f"Catching up took longer than {_BEGINNING_SECONDS:.0f} s.") from error

    async def _next(self, shared: SharedPoll) -> NewRecords:
        if self._mark is None:
            kept = await self._marks.load()
            if kept is None and shared.is_first:
                return shared.news
            self._mark = kept or self._reader.first
        return await self._reader.look(self._mark)


class Subscriber:
    """One watcher of a shared reading: what it has not been told yet, and the marks to keep."""

    def __init__(self, marks: PositionStore, beginning: CatchUp) -> None:
        self._marks = marks
        self._beginning = beginning
        self._mark: WatchPosition | None = None
        self._unkept: deque[tuple[SharedPoll, WatchPosition]] = deque()

    async def take(self, shared: SharedPoll) -> AsyncIterator[NewRecords]:
        """Yield what of a shared look is new here; at first, what happened since the mark that was kept."""
        await self._keep_stored()
        if not self._beginning.is_over:
            async for news in self._beginning.take(shared):
                self._mark = news.mark
                yield news
        elif self._mark is not None:
            news = shared.news.relative_to(self._mark)
            self._mark = news.mark
            yield news
        if self._mark is not None:
            self._unkept.append((shared, self._mark))

    async def _keep_stored(self) -> None:
        mark = None
        while self._unkept and (is_stored := self._unkept[0][0].is_stored) is not None:
            shared_mark = self._unkept.popleft()[1]
            # What failed, failed for another watcher: who fails is ended. The mark after it says the same, later.
            mark = shared_mark if is_stored else mark
        if mark is not None:
            await self._marks.keep(mark)
