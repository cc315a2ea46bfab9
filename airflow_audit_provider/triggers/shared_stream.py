"""Shared stream of an audit log: one poll serves all watchers in a triggerer, and each keeps its own position.

Airflow 3.3 calls this a shared stream (``airflow.triggers.shared_stream``). A watcher that starts later than the
stream, or restarts, first catches up from its stored position by polls of its own.

Invariant: a position is stored only after Airflow has stored the events before it, so a crash repeats events and never
loses one.
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

PollForever = Callable[[WatchPosition | None], AsyncGenerator[NewRecords, None]]
# Airflow ends a watcher that does not acknowledge an item within 300 s ([triggerer] shared_stream_ack_timeout).
_CATCH_UP_SECONDS = 90.0


@dataclass
class SharedPoll:
    """One poll as every watcher of the stream receives it.

    ``is_stored`` is None until all watchers have acknowledged the poll; then it is whether Airflow stored all events.
    """

    new_records: NewRecords
    is_first: bool
    is_stored: bool | None = None


class SharedPollProducer:
    """Polls for all watchers of a log; implements Airflow 3.3's ``SharedStreamProducer``, which older versions lack."""

    def __init__(self, poll_forever: PollForever) -> None:
        self._poll_forever = poll_forever

    async def open_stream(self) -> AsyncIterator[tuple[SharedPoll, SharedPoll]]:
        """Yields each poll twice, as the watchers' item and as the payload :meth:`advance` receives; never ends."""
        is_first = True
        async with aclosing(self._poll_forever(None)) as polls:
            async for new_records in polls:
                shared = SharedPoll(new_records, is_first)
                is_first = False
                yield shared, shared

    async def advance(self, resolved: Sequence[Any]) -> None:
        """Records which polls are stored. Airflow restarts a watcher that failed, from its stored position."""
        for item in resolved:
            item.broker_payload.is_stored = item.outcome.failed == 0

    def get_advance_lane(self, _payload: object) -> Hashable:
        """Returns one lane for all polls, because they are ordered."""
        return None

    async def aclose(self) -> None:
        """Does nothing: each poll opens and closes its own connection."""


class PositionStore:
    """Stores a watcher's position in an asset's state store (Airflow 3.3), or nowhere on older versions."""

    def __init__(self, state: Any, key: str, log: Any) -> None:
        self._state = state
        self._key = key
        self._log = log

    async def load(self) -> WatchPosition | None:
        """Returns the stored position, or None; errors of the store propagate."""
        if self._state is None:
            return None
        try:
            stored = await self._state.aget(self._key)
        except ValueError as error:
            self._log.warning("Positions are not stored, because one trigger watches for several assets: %s", error)
            self._state = None
            return None
        position = WatchPosition.from_state(stored)
        if stored is not None and position is None:
            self._log.error(
                "The state stored under %s is not a position; starting without it: %.200r", self._key, stored
            )
        return position

    async def save(self, position: WatchPosition) -> None:
        """Stores a position; if that fails the previous one stays, and a restart repeats some events."""
        if self._state is None:
            return
        try:
            await self._state.aset(self._key, position.to_state())
        except Exception as error:  # noqa: BLE001 - an escaping error would end the watcher
            self._log.warning("The position could not be stored: %r", error)


class CatchUpReader(NamedTuple):
    """Settings of one watcher's own polls: the poll, its first position, the interval, and the receiver of errors."""

    poll: Callable[[WatchPosition | None], Awaitable[NewRecords]]
    first_position: WatchPosition
    schedule: PollSchedule
    clock: Clock
    on_error: ErrorCallback


class CatchUp:
    """Catches up from the stored position to now, one poll at a time; a failed poll is retried at a later shared poll.

    Each attempt is short. A failure is followed by a pause without attempts, in which shared polls are still
    acknowledged, because Airflow ends a watcher that does not acknowledge them.
    """

    def __init__(self, positions: PositionStore, reader: CatchUpReader) -> None:
        self._positions = positions
        self._reader = reader
        self._backoff = PollBackoff(reader.schedule)
        self._position: WatchPosition | None = None
        self._not_before = 0.0
        self.is_over = False

    async def take(self, shared: SharedPoll) -> AsyncIterator[NewRecords]:
        """Yields what is new since the stored position; other watchers of the stream may have received it before."""
        clock = self._reader.clock
        until = clock.monotonic() + _CATCH_UP_SECONDS
        while not self.is_over and clock.monotonic() >= self._not_before:
            try:
                new_records = await self._poll_in_time(shared, until - clock.monotonic())
            except Exception as error:  # noqa: BLE001 - starting without the stored position could lose records
                pause = self._backoff.after_failure(error)
                self._not_before = clock.monotonic() + pause
                self._reader.on_error(error, pause)
            else:
                self._position, self.is_over = new_records.position, new_records.is_complete
                self._backoff.after_poll()
                yield new_records

    async def _poll_in_time(self, shared: SharedPoll, seconds: float) -> NewRecords:
        try:
            async with asyncio.timeout(seconds):
                return await self._poll(shared)
        except TimeoutError as error:
            raise SourceUnavailableError(
                f"Catching up from the stored position took longer than {_CATCH_UP_SECONDS:.0f} s. No action is "
                "needed: the watcher tries again."
            ) from error

    async def _poll(self, shared: SharedPoll) -> NewRecords:
        if self._position is None:
            stored = await self._positions.load()
            if stored is None and shared.is_first:
                return shared.new_records
            self._position = stored or self._reader.first_position
        return await self._reader.poll(self._position)


class Subscriber:
    """One watcher of a shared stream: what it has not received yet, and the positions to store."""

    def __init__(self, positions: PositionStore, catch_up: CatchUp) -> None:
        self._positions = positions
        self._catch_up = catch_up
        self._position: WatchPosition | None = None
        self._unsaved: deque[tuple[SharedPoll, WatchPosition]] = deque()

    async def take(self, shared: SharedPoll) -> AsyncIterator[NewRecords]:
        """Yields the new records of a shared poll for this watcher; at first, those since its stored position."""
        await self._save_stored()
        if not self._catch_up.is_over:
            async for new_records in self._catch_up.take(shared):
                self._position = new_records.position
                yield new_records
        elif self._position is not None:
            new_records = shared.new_records.relative_to(self._position)
            self._position = new_records.position
            yield new_records
        if self._position is not None:
            self._unsaved.append((shared, self._position))

    async def _save_stored(self) -> None:
        position = None
        while self._unsaved and (is_stored := self._unsaved[0][0].is_stored) is not None:
            shared_position = self._unsaved.popleft()[1]
            # A failure was another watcher's, because a watcher that fails is ended. The next position covers this one.
            position = shared_position if is_stored else position
        if position is not None:
            await self._positions.save(position)
