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
from airflow_audit_provider.core.watch.activity import ActivityCount, ActivityQuery
from airflow_audit_provider.core.watch.new_records import NewRecords, NewRecordsPoll, WatchPosition
from airflow_audit_provider.core.watch.polling import PollBackoff, PollSchedule

ErrorCallback = Callable[[Exception, float], None]


class Poll(Protocol):
    """One poll: what it reads, and when it has read enough."""

    @property
    def is_enough(self) -> bool:
        """Whether to stop reading."""
        ...

    def window_reader(self) -> WindowReader | None:
        """Returns what to read, None for nothing."""
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


def count_activity(activity: ActivityQuery, reader: AuditLogReader) -> ActivityCount:
    """Counts records from the watermark on until there are enough, or no more; blocks."""
    poll = ActivityCount(activity, reader.clock.now())
    window_reader = poll.window_reader()
    if window_reader is not None:
        for records in reader.read(activity.query, window_reader):
            poll.add(records)
            if poll.is_enough:
                break
    return poll


async def acount_activity(activity: ActivityQuery, reader: AsyncAuditLogReader) -> ActivityCount:
    """Counts as :func:`count_activity` does, on an event loop."""
    poll = ActivityCount(activity, reader.clock.now())
    await _aread(poll, activity.query, reader)
    return poll


async def apoll_new_records(
    query: AuditQuery, position: WatchPosition | None, lookback: timedelta, reader: AsyncAuditLogReader
) -> NewRecords:
    """Reads the records that are new since a position; without one, since ``lookback`` before now."""
    now = reader.clock.now()
    poll = NewRecordsPoll(query, position or WatchPosition.at(now - lookback), now, lookback)
    await _aread(poll, query, reader)
    return poll.new_records()


async def _aread(poll: Poll, query: AuditQuery, reader: AsyncAuditLogReader) -> None:
    window_reader = poll.window_reader()
    if window_reader is not None:
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
