"""The use cases of sensors and triggers: look for new activity, blocking or not, once or for ever.

Knows: that looking stops as soon as enough is found, and goes on after any failure where it is for ever.
Must not know: Airflow, when activity is enough or a record new (``core.activity``, ``core.news``).
Its one rule: blocking or not, a look feeds the same decision.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import timedelta

from airflow_audit_provider.adapters.cloudflare.reader import AsyncAuditLogReader, AuditLogReader
from airflow_audit_provider.core.api.query import AuditQuery
from airflow_audit_provider.core.ports import Clock
from airflow_audit_provider.core.watch.activity import ActivityCount, ActivityQuery
from airflow_audit_provider.core.watch.new_records import NewRecords, Poll, WatchPosition
from airflow_audit_provider.core.watch.polling import PollBackoff, PollSchedule

ErrorCallback = Callable[[Exception, float], None]


def count_activity(watch: ActivityQuery, source: AuditLogReader) -> ActivityCount:
    """Read from the watermark on until there is enough, or nothing more; blocks."""
    activity = ActivityCount(watch)
    reading = watch.reading(source.clock.now())
    if reading is None:
        return activity
    for records in source.read(watch.query, reading):
        activity.add(records)
        if activity.is_enough:
            break
    return activity


async def acount_activity(watch: ActivityQuery, source: AsyncAuditLogReader) -> ActivityCount:
    """Do the same as :func:`count_activity` on an event loop."""
    activity = ActivityCount(watch)
    reading = watch.reading(source.clock.now())
    if reading is None:
        return activity
    async for records in source.read(watch.query, reading):
        activity.add(records)
        if activity.is_enough:
            break
    return activity


async def apoll_new_records(
    query: AuditQuery, mark: WatchPosition | None, lookback: timedelta, source: AsyncAuditLogReader
) -> NewRecords:
    """Read what is new since a mark, or since ``lookback`` before now where there is none yet."""
    now = source.clock.now()
    look = Poll(query, mark or WatchPosition.at(now - lookback), now, lookback)
    reading = look.reading()
    if reading is not None:
        async for records in source.read(query, reading):
            look.add(records)
            if look.has_enough:
                break
    return look.new_records()


async def apoll_forever(
    look: Callable[[WatchPosition | None], Awaitable[NewRecords]],
    mark: WatchPosition | None,
    rhythm: PollSchedule,
    clock: Clock,
    complain: ErrorCallback,
) -> AsyncGenerator[NewRecords, None]:
    """Look for ever; yield the news of every look that came to its end, also when there are none.

    No failure ends it, of whatever kind: ``complain`` is told of it and of the seconds until the next look.
    """
    pace = PollBackoff(rhythm)
    while True:
        try:
            news = await look(mark)
        except Exception as error:  # noqa: BLE001 - whoever follows must not end: Airflow restarts it every 2 s
            pause = pace.after_failure(error)
            complain(error, pause)
        else:
            mark, pause = news.mark, pace.after_look(is_complete=news.is_complete)
            yield news
        await clock.asleep(pause)
