"""Divides a range into windows of one calendar length: whole hours, days or months of a time zone.

Invariant: the windows of a division follow each other without gap or overlap, so two ranges that share a window divide
there alike; a day is the window of a run for the partition of that day.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

import pendulum

from airflow_audit_provider.core.limits import DAY, HOUR, MONTH
from airflow_audit_provider.core.windows.run_window import find_zone, first_at_wall_time
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import ConfigurationError

DIVISIONS = (HOUR, DAY, MONTH)
_HOUR = timedelta(hours=1)


def windows_over(time_range: TimeWindow, division: str, timezone: str = "UTC") -> list[TimeWindow]:
    """Returns the windows of a division that overlap a range, in order; the first and the last may reach beyond it.

    Hours begin when the wall clock of the time zone shows a whole hour, as those of an hourly schedule in that zone do;
    an hour that the clock repeats is two hours. Days and months begin with their first instant. Raises
    ``ConfigurationError`` for an unknown division or time zone.
    """
    if division not in DIVISIONS:
        raise ConfigurationError(f"The division {division!r} is unknown. Give one of {', '.join(DIVISIONS)}.")
    zone = find_zone(timezone)
    return [TimeWindow(start, end) for start, end in pairwise(_borders(time_range, division, zone))]


def joined(windows: Sequence[TimeWindow]) -> list[TimeWindow]:
    """Returns the spans that sorted windows without overlaps make up together: adjacent windows are one span."""
    spans: list[TimeWindow] = []
    for window in windows:
        if spans and spans[-1].end == window.start:
            spans[-1] = TimeWindow(spans[-1].start, window.end)
        else:
            spans.append(window)
    return spans


def _borders(time_range: TimeWindow, division: str, zone: pendulum.Timezone) -> Iterator[datetime]:
    """Yields the borders around a range, from the last one at or before its start to the first at or after its end."""
    begins_at = _border_at_or_before(time_range.start, division, zone)
    yield begins_at
    while begins_at < time_range.end:
        begins_at = _next_border(begins_at, division, zone)
        yield begins_at


def _border_at_or_before(instant: datetime, division: str, zone: pendulum.Timezone) -> datetime:
    local = pendulum.instance(instant).in_timezone(zone)
    if division != HOUR:
        return first_at_wall_time(local.naive().start_of(division), zone)
    instant -= timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
    # Where clocks change by half an hour, the whole hour may be further back.
    while past := pendulum.instance(instant).in_timezone(zone).minute:
        instant -= timedelta(minutes=past)
    return instant


def _next_border(begins_at: datetime, division: str, zone: pendulum.Timezone) -> datetime:
    if division == HOUR:
        after = begins_at + _HOUR
        # Where clocks change by half an hour, the hour before it is longer.
        past = pendulum.instance(after).in_timezone(zone).minute
        return after + timedelta(minutes=60 - past) if past else after
    midnight, following = pendulum.instance(begins_at).in_timezone(zone).naive().start_of(division), begins_at
    # More than once only for a date that the time zone has skipped.
    while following <= begins_at:
        midnight = midnight.add(months=1) if division == MONTH else midnight.add(days=1)
        following = first_at_wall_time(midnight, zone)
    return following
