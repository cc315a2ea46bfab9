"""Divides a range of time into whole hours, days or months of a time zone.

Invariant: the partitions follow each other without gap or overlap, and each is the window of a run of its own for that
hour, day or month.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise

import pendulum

from airflow_audit_provider.core.limits import DAY, HOUR, MONTH, check_partition_by
from airflow_audit_provider.core.windows.run_window import RunWindow, find_zone, first_at_wall_time
from airflow_audit_provider.core.windows.window import TimeWindow, format_instant
from airflow_audit_provider.exceptions import ConfigurationError

_HOUR = timedelta(hours=1)
# More than all hours that the API keeps. A mistyped year would otherwise fill the memory.
MAX_PARTITIONS = 20_000


def divide(run_window: RunWindow, partition_by: str, timezone: str) -> list[RunWindow]:
    """Returns the partitions of a run's window, oldest first.

    Raises ``ConfigurationError`` if it does not begin and end where partitions do: a part of a day, once committed,
    would overlap the whole day of a later run.
    """
    check_partition_by(partition_by)
    zone, window = find_zone(timezone), run_window.window
    _check_count(window, partition_by)
    start = _border_at_or_before(window.start, partition_by, zone)
    borders = [start, *_borders_after(start, window.end, partition_by, zone)]
    if (borders[0], borders[-1]) != (window.start, window.end):
        whole = f"{format_instant(borders[0])} and {format_instant(borders[-1])}"
        raise ConfigurationError(
            f"partition_by={partition_by!r} divides whole {partition_by}s in {timezone}, and the window {window} does "
            f"not begin and end with one. A part of a {partition_by} would overlap the whole one later. The whole "
            f"{partition_by}s around it are between {whole}: give these as window_start and window_end, or give "
            "another timezone or partition_by."
        )
    return [
        RunWindow(TimeWindow(first, second), run_window.rule, first.astimezone(zone).date())
        for first, second in pairwise(borders)
    ]


def _check_count(window: TimeWindow, partition_by: str) -> None:
    hours = window.length / _HOUR
    count = {HOUR: hours, DAY: hours / 24, MONTH: hours / 24 / 28}[partition_by]
    if count > MAX_PARTITIONS:
        raise ConfigurationError(
            f"The window {window} has more than {MAX_PARTITIONS} {partition_by}s. Give a shorter one: Cloudflare keeps "
            "audit logs for 18 months."
        )


def _borders_after(start: datetime, end: datetime, partition_by: str, zone: pendulum.Timezone) -> Iterator[datetime]:
    """Yields the borders after a border, up to the first one at or after ``end``."""
    border = start
    while border < end:
        border = _next_border(border, partition_by, zone)
        yield border


def _border_at_or_before(instant: datetime, partition_by: str, zone: pendulum.Timezone) -> datetime:
    local = pendulum.instance(instant).in_timezone(zone)
    if partition_by == HOUR:
        # Subtracted from the instant: an hour that the clock repeats is two hours.
        return instant - timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
    midnight = local.naive().start_of(partition_by)
    return _plain(first_at_wall_time(midnight, zone))


def _next_border(border_at: datetime, partition_by: str, zone: pendulum.Timezone) -> datetime:
    if partition_by == HOUR:
        after = border_at + _HOUR
        # Where clocks change by half an hour, the hour before it is longer.
        surplus = pendulum.instance(after).in_timezone(zone).minute
        return after + timedelta(minutes=60 - surplus) if surplus else after
    midnight, following = pendulum.instance(border_at).in_timezone(zone).naive().start_of(partition_by), border_at
    # More than once only for a date that the time zone has skipped.
    while following <= border_at:
        midnight = midnight.add(months=1) if partition_by == MONTH else midnight.add(days=1)
        following = _plain(first_at_wall_time(midnight, zone))
    return following


def _plain(instant: datetime) -> datetime:
    """Returns an instant as a window has it."""
    return TimeWindow(instant, instant + _HOUR).start
