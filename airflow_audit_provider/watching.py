"""The use cases of sensors and triggers: look for new activity, blocking or not, once or for ever.

Knows: that looking stops as soon as enough is found, and goes on after any failure where it is for ever.
Must not know: Airflow, when activity is enough or a record new (``core.activity``, ``core.news``).
Its one rule: blocking or not, a look feeds the same decision.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import timedelta

from airflow_audit_provider.adapters.source import AsyncSource, Source
from airflow_audit_provider.core.activity import Activity, Watch
from airflow_audit_provider.core.news import Look, Mark, News
from airflow_audit_provider.core.ports import Clock
from airflow_audit_provider.core.query import AuditQuery
from airflow_audit_provider.core.rhythm import Pace, Rhythm

Complaint = Callable[[Exception, float], None]


def look_for_activity(watch: Watch, source: Source) -> Activity:
    """Read from the watermark on until there is enough, or nothing more; blocks."""
    activity = Activity(watch)
    reading = watch.reading(source.clock.now())
    if reading is None:
        return activity
    for records in source.read(watch.query, reading):
        activity.add(records)
        if activity.is_enough:
            break
    return activity


async def alook_for_activity(watch: Watch, source: AsyncSource) -> Activity:
    """Do the same as :func:`look_for_activity` on an event loop."""
    activity = Activity(watch)
    reading = watch.reading(source.clock.now())
    if reading is None:
        return activity
    async for records in source.read(watch.query, reading):
        activity.add(records)
        if activity.is_enough:
            break
    return activity


async def alook_for_news(query: AuditQuery, mark: Mark | None, lookback: timedelta, source: AsyncSource) -> News:
    """Read what is new since a mark, or since ``lookback`` before now where there is none yet."""
    now = source.clock.now()
    look = Look(query, mark or Mark.at(now - lookback), now, lookback)
    reading = look.reading()
    if reading is not None:
        async for records in source.read(query, reading):
            look.add(records)
            if look.has_enough:
                break
    return look.news()


async def afollow(
    look: Callable[[Mark | None], Awaitable[News]], mark: Mark | None, rhythm: Rhythm, clock: Clock, complain: Complaint
) -> AsyncGenerator[News, None]:
    """Look for ever; yield the news of every look that came to its end, also when there are none.

    No failure ends it, of whatever kind: ``complain`` is told of it and of the seconds until the next look.
    """
    pace = Pace(rhythm)
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
