"""Shared poll of deferred sensors: one poll serves all sensors of a triggerer that wait for the same records.

Sensors share a poll if their connection, query and interval are equal; how many records each waits for, and since when,
may differ. Sensors of one connection share its client and rate limiter, whatever they wait for.

Invariant: a sensor receives only what a poll found that began after the sensor had joined.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Hashable, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from contextvars import Context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

from airflow_audit_provider.core.api.categories import wanted_categories
from airflow_audit_provider.core.watch.activity import ActivityCount, ActivityDemand
from airflow_audit_provider.core.watch.polling import PollSchedule
from airflow_audit_provider.exceptions import AuditProviderError
from airflow_audit_provider.pipelines.watch import acount_activities, apoll_forever

if TYPE_CHECKING:
    from airflow_audit_provider.adapters.cloudflare.reader import AsyncAuditLogReader
    from airflow_audit_provider.hooks.cloudflare import CloudflareHook


class SensorQuery(NamedTuple):
    """Values that must be equal to share a poll: connection, arguments of ``CloudflareHook.query``, poll times."""

    conn_id: str
    arguments: Mapping[str, Any]
    schedule: PollSchedule

    @property
    def key(self) -> Hashable:
        """The key of the shared poll; unique if the interval grows with each sensor's own polls."""
        alone = object() if self.schedule.backs_off else None
        return self.conn_id, json.dumps(self.arguments, sort_keys=True, default=str), self.schedule, alone


class PollNotice(NamedTuple):
    """Result of a poll for one sensor, or the poll's error; ``pause_seconds`` is the time until the next poll."""

    activity: ActivityCount | None
    error: Exception | None = None
    pause_seconds: float = 0.0


@asynccontextmanager
async def join_poll(query: SensorQuery, demand: ActivityDemand) -> AsyncIterator[AsyncIterator[PollNotice]]:
    """Joins the shared poll of a query, or starts it; yields the notices of every poll while the block runs.

    After a notice with an error that no retry can fix, no further one follows.
    """
    registry = _registries.setdefault(asyncio.get_running_loop(), _Registry())
    member = _Member(demand)
    poll = registry.poll_of(query)
    poll.members.append(member)
    try:
        yield member.notices()
    finally:
        poll.members.remove(member)
        if not poll.members:
            await registry.end(poll)


@dataclass(eq=False)
class _Member:
    """One waiting sensor: what it waits for, and its notices that it has not taken yet."""

    demand: ActivityDemand
    queue: asyncio.Queue[PollNotice] = field(default_factory=asyncio.Queue)

    async def notices(self) -> AsyncIterator[PollNotice]:
        """Yields the notices as they come, without end."""
        while True:
            yield await self.queue.get()


class _SharedConnection:
    """The hook and the open client of one connection, for every poll that uses it."""

    def __init__(self, conn_id: str) -> None:
        self.conn_id = conn_id
        self.user_count = 0
        self._open = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._hook: CloudflareHook | None = None
        self._reader: AsyncAuditLogReader | None = None
        self._has_answered = False

    async def count(self, query: SensorQuery, demands: list[ActivityDemand]) -> list[ActivityCount]:
        """Polls once.

        The connection was read when the first sensor joined. An error that no retry can fix is therefore raised only if
        it comes back with the connection as it is now: a token may have been replaced meanwhile.
        """
        try:
            return await self._count(query, demands)
        except AuditProviderError as error:
            if error.retryable or not self._has_answered:
                raise
            await self.aclose()
            return await self._count(query, demands)

    async def _count(self, query: SensorQuery, demands: list[ActivityDemand]) -> list[ActivityCount]:
        hook, reader = await self._opened()
        if wanted_categories(hook.query(**query.arguments)):
            # The categories are requested once for a connection, by the client of the threads.
            await asyncio.to_thread(hook.checked_query, **query.arguments)
        counts = await acount_activities(hook.query(**query.arguments), demands, reader)
        self._has_answered = True
        return counts

    async def _opened(self) -> tuple[CloudflareHook, AsyncAuditLogReader]:
        async with self._opening:
            if self._hook is None or self._reader is None:
                hook = self.hook()
                client = await self._open.enter_async_context(await hook.open_async_conn())
                self._hook, self._reader = hook, hook.async_reader(client)
            return self._hook, self._reader

    def hook(self) -> CloudflareHook:
        """Returns a hook that has not read the connection yet."""
        from airflow_audit_provider.hooks.cloudflare import CloudflareHook

        return CloudflareHook(self.conn_id)

    async def aclose(self) -> None:
        """Closes the client; the next poll reads the connection again."""
        self._hook = self._reader = None
        self._has_answered = False
        await self._open.aclose()


class _Found(NamedTuple):
    """The result of one poll: what it found for each sensor."""

    activities: list[tuple[_Member, ActivityCount]]

    @property
    def is_complete(self) -> bool:
        """Whether the next poll waits for the interval: always, because nothing is left to read."""
        return True


class _SharedPoll:
    """One poll loop and the sensors that it serves."""

    def __init__(self, query: SensorQuery, connection: _SharedConnection) -> None:
        self.connection = connection
        self.members: list[_Member] = []
        self.has_ended = False
        self._query = query
        # In a context of its own: what this task logs belongs to no single sensor.
        self._task = asyncio.create_task(self._run(), context=Context())

    async def aclose(self) -> None:
        """Ends the loop and waits until it has ended."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        clock = self.connection.hook().clock
        async with aclosing(apoll_forever(self._poll, self._query.schedule, clock, self._on_error)) as polls:
            async for found in polls:
                for member, activity in found.activities:
                    member.queue.put_nowait(PollNotice(activity))
                # Lets the sensors that have enough leave before the pause; the last one ends this task.
                await asyncio.sleep(0)  # noqa: TID251 - passes control, and does not wait

    async def _poll(self) -> _Found:
        # A sensor that joins while this poll runs waits for the next one.
        members = list(self.members)
        counts = await self.connection.count(self._query, [member.demand for member in members])
        return _Found(list(zip(members, counts, strict=True)))

    def _on_error(self, error: Exception, pause_seconds: float) -> None:
        """Passes an error to every sensor; raises it, which ends the loop, if no retry can fix it."""
        is_retryable = isinstance(error, AuditProviderError) and error.retryable
        self.has_ended = not is_retryable
        for member in self.members:
            member.queue.put_nowait(PollNotice(None, error, pause_seconds))
        if not is_retryable:
            raise error


class _Registry:
    """The polls and connections of one event loop."""

    def __init__(self) -> None:
        self._polls: dict[Hashable, _SharedPoll] = {}
        self._connections: dict[str, _SharedConnection] = {}

    def poll_of(self, query: SensorQuery) -> _SharedPoll:
        """Returns the running poll of a query, a new one if there is none."""
        key = query.key
        poll = self._polls.get(key)
        if poll is None or poll.has_ended:
            connection = self._connections.setdefault(query.conn_id, _SharedConnection(query.conn_id))
            connection.user_count += 1
            poll = self._polls[key] = _SharedPoll(query, connection)
        return poll

    async def end(self, poll: _SharedPoll) -> None:
        """Ends a poll without sensors, and closes its connection if no other poll uses it."""
        self._polls = {key: other for key, other in self._polls.items() if other is not poll}
        connection = poll.connection
        connection.user_count -= 1
        if not connection.user_count:
            # Removed first: a sensor that joins while it closes opens a connection of its own.
            del self._connections[connection.conn_id]
        await poll.aclose()
        if not connection.user_count:
            await connection.aclose()


_registries: WeakKeyDictionary[asyncio.AbstractEventLoop, _Registry] = WeakKeyDictionary()
