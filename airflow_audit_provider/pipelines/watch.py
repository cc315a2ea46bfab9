"""Polls an audit log for a sensor or a trigger: once, blocking or on an event loop, or repeatedly.

Sensor, deferred trigger and event trigger share the same poll and the same loop; only what they count differs.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Protocol, TypeVar

from airflow_audit_provider.adapters.cloudflare.reader import AsyncAuditLogReader, AuditLogReader
from airflow_audit_provider.core.api.query import AuditQuery
from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.core.paging.window_reader import WindowReader
from airflow_audit_provider.core.ports import Clock
from airflow_audit_provider.core.watch.activity import ActivityCount, ActivityDemand, ActivityPoll
from airflow_audit_provider.core.watch.new_records import NewRecords, NewRecordsPoll, WatchPosition
from airflow_audit_provider.core.watch.polling import PollBackoff, PollSchedule

ErrorCallback = Callable[[Exception, float], None]


class Poll(Protocol):
    """One poll: what it has read, and whether that is enough."""

    @property
    def is_enough(self) -> bool:
        """Whether to stop reading."""
        ...

    def add(self, records: Sequence[AuditRecord]) -> None:
        """Adds records that were read."""
        ...


class PollResult(Protocol):
    """Part of a poll's result that the loop needs."""

    @property
    def is_complete(self) -> bool:
        """Whether the poll read up to now; if not, the next poll follows without a pause."""
        ...


PollResultT = TypeVar("PollResultT", bound=PollResult)


def count_activity(query: AuditQuery, demand: ActivityDemand, reader: AuditLogReader) -> ActivityCount:
    """Counts records from the watermark on until there are enough, or no more; blocks."""
    poll = ActivityPoll(query, [demand], reader.clock.now())
    for window_reader in poll.window_readers():
        for records in reader.read(query, window_reader):
            poll.add(records)
            if poll.is_enough:
                break
    return poll.counts[0]


async def acount_activities(
    query: AuditQuery, demands: Sequence[ActivityDemand], reader: AsyncAuditLogReader
) -> list[ActivityCount]:
    """Counts as :func:`count_activity` does for several sensors, on an event loop; returns the counts in their order.

    Each span of time is read once, whatever the number of sensors.
    """
    poll = ActivityPoll(query, demands, reader.clock.now())
    for window_reader in poll.window_readers():
        await _aread(poll, window_reader, query, reader)
    return poll.counts


async def apoll_new_records(
    query: AuditQuery, position: WatchPosition | None, lookback: timedelta, reader: AsyncAuditLogReader
) -> NewRecords:
    """Reads the records that are new since a position; without one, since ``lookback`` before now."""
    now = reader.clock.now()
    poll = NewRecordsPoll(query, position or WatchPosition.at(now - lookback), now, lookback)
    window_reader = poll.window_reader()
    if window_reader is not None:
        await _aread(poll, window_reader, query, reader)
    return poll.new_records()


async def _aread(poll: Poll, window_reader: WindowReader, query: AuditQuery, reader: AsyncAuditLogReader) -> None:
    async for records in reader.read(query, window_reader):
        poll.add(records)
        if poll.is_enough:
            break


async def apoll_forever(
    poll: Callable[[], Awaitable[PollResultT]], schedule: PollSchedule, clock: Clock, on_error: ErrorCallback
) -> AsyncGenerator[PollResultT, None]:
    """Polls without end on a schedule; yields each poll's result, also one without records.

    ``on_error`` receives every exception of a poll and the seconds until the next one. The loop ends only if
    ``on_error`` raises, because Airflow restarts a trigger that ends by an exception every 2 s.
    """
    backoff = PollBackoff(schedule)
    while True:
        try:
            result = await poll()
        except Exception as error:  # noqa: BLE001 - the callback decides which errors end the loop
            pause = backoff.after_failure(error)
            on_error(error, pause)
        else:
            pause = backoff.after_poll(is_complete=result.is_complete)
            yield result
        await clock.asleep(pause)
