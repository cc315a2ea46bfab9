"""One reading of an audit log for all its watchers in a triggerer, each with a mark of its own.

Knows: what a shared stream asks of who produces it, and an asset's state store. Must not know: what makes a record new
(``core.news``), which records a watcher wants.
Its one rule: a mark is kept only when Airflow has stored the events of what lies before it; what is told twice is
better than what is not told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Hashable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from airflow_audit_provider.core.news import Mark, News
from airflow_audit_provider.core.ports import Clock
from airflow_audit_provider.core.rhythm import Pace, Rhythm

Follow = Callable[[Mark | None], AsyncGenerator[News, None]]


@dataclass
class SharedNews:
    """One look as all watchers get it; ``is_stored`` once Airflow has stored every event they made of it."""

    news: News
    is_first: bool
    is_stored: bool = False


class NewsProducer:
    """Looks for all watchers of a log; what Airflow 3.3 calls a ``SharedStreamProducer``, which older ones lack."""

    def __init__(self, follow: Follow) -> None:
        self._follow = follow

    async def open_stream(self) -> AsyncIterator[tuple[SharedNews, SharedNews]]:
        """Yield every look twice: for the watchers, and as what :meth:`advance` is to be told; never ends."""
        is_first = True
        async with aclosing(self._follow(None)) as looks:
            async for news in looks:
                shared = SharedNews(news, is_first)
                is_first = False
                yield shared, shared

    async def advance(self, resolved: Sequence[Any]) -> None:
        """Note what is stored. A watcher for whom it failed is started anew by Airflow, from the mark that is kept."""
        for item in resolved:
            item.broker_payload.is_stored = True

    def get_advance_lane(self, _payload: object) -> Hashable:
        """Say that all looks stand in one line."""
        return None

    async def aclose(self) -> None:
        """Do nothing: every look opens and closes its own connection."""


class MarkStore:
    """Where a watcher's mark is kept: an asset's state store (Airflow 3.3), or nowhere."""

    def __init__(self, state: Any, key: str, rhythm: Rhythm, clock: Clock, log: Any) -> None:
        self._state = state
        self._key = key
        self._rhythm = rhythm
        self._clock = clock
        self._log = log

    async def load(self) -> Mark | None:
        """Return the mark that was kept, None where there is none; waits until the store answers."""
        pace = Pace(self._rhythm)
        while self._state is not None:
            try:
                return Mark.from_state(await self._state.aget(self._key))
            except ValueError as error:
                self._log.warning("The mark is not kept, one trigger watches for several assets: %s", error)
                self._state = None
            except Exception as error:  # noqa: BLE001 - to begin without the mark could lose records
                pause = pace.after_failure(error)
                self._log.warning("Asking for the mark again in %.0f s: %r", pause, error)
                await self._clock.asleep(pause)
        return None

    async def keep(self, mark: Mark) -> None:
        """Keep a mark; where that fails the one before stays, and some events are told again after a restart."""
        if self._state is None:
            return
        try:
            await self._state.aset(self._key, mark.to_state())
        except Exception as error:  # noqa: BLE001 - an escaping error would end the watcher
            self._log.warning("The mark could not be kept: %r", error)


class Watcher:
    """One watcher of a shared reading: what it has not been told yet, and the marks to keep."""

    def __init__(self, marks: MarkStore, follow: Follow) -> None:
        self._marks = marks
        self._follow = follow
        self._mark: Mark | None = None
        self._unkept: deque[tuple[SharedNews, Mark]] = deque()

    async def take(self, shared: SharedNews) -> AsyncIterator[News]:
        """Yield what of a shared look is new here; the first time, what happened since the mark that was kept."""
        await self._keep_stored()
        if self._mark is None:
            async for news in self._begin(shared):
                self._mark = news.mark
                yield news
        else:
            news = shared.news.beside(self._mark)
            self._mark = news.mark
            yield news
        if self._mark is not None:
            self._unkept.append((shared, self._mark))

    async def _begin(self, shared: SharedNews) -> AsyncIterator[News]:
        """Yield all from the kept mark to now; others on this reading may have been told of it before."""
        kept = await self._marks.load()
        if kept is None and shared.is_first:
            yield shared.news
            return
        async with aclosing(self._follow(kept)) as looks:
            async for news in looks:
                yield news
                if news.is_complete:
                    return

    async def _keep_stored(self) -> None:
        mark = None
        while self._unkept and self._unkept[0][0].is_stored:
            mark = self._unkept.popleft()[1]
        if mark is not None:
            await self._marks.keep(mark)
