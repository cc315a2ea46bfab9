"""The use case of sensors and triggers: look once for new activity, blocking or not.

Knows: that looking stops as soon as enough is found. Must not know: Airflow, how often to look.
Its one rule: both forms feed the same :class:`~airflow_audit_provider.core.activity.Activity`.
"""

from __future__ import annotations

from airflow_audit_provider.adapters.source import AsyncSource, Source
from airflow_audit_provider.core.activity import Activity, Watch


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
