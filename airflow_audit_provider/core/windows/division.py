"""Divides a range into windows of one calendar length: hours, days or months.

Invariant: the windows of a division follow each other without gap or overlap, so two ranges that share a window divide
there alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pendulum

from airflow_audit_provider.core.windows.run_window import find_zone, first_instant_of
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import ConfigurationError

DIVISIONS = ("hour", "day", "month")
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)


def windows_over(time_range: TimeWindow, division: str, timezone: str = "UTC") -> list[TimeWindow]:
    """Returns the windows of a division that overlap a range, in order; the first and the last may reach beyond it.

    Hours are counted in UTC, so that an hour that the clock repeats is two hours. Days and months follow the wall clock
    of the time zone. Raises ``ConfigurationError`` for an unknown division or time zone.
    """
    if division not in DIVISIONS:
        raise ConfigurationError(f"The division {division!r} is unknown. Give one of {', '.join(DIVISIONS)}.")
    zone = find_zone(timezone)
    if division == "hour":
        return _between(_hours(time_range))
    first, last = (_local_date(bound, zone) for bound in (time_range.start, time_range.end))
    days = _months(first, last) if division == "month" else _days(first, last)
    borders = [first_instant_of(day, zone) for day in days]
    return [window for window in _between(borders) if window.overlaps(time_range)]


def joined(windows: Sequence[TimeWindow]) -> list[TimeWindow]:
    """Returns the spans that sorted windows without overlaps make up together: adjacent windows are one span."""
    spans: list[TimeWindow] = []
    for window in windows:
        if spans and spans[-1].end == window.start:
            spans[-1] = TimeWindow(spans[-1].start, window.end)
        else:
            spans.append(window)
    return spans


def _between(borders: Sequence[datetime]) -> list[TimeWindow]:
    return [TimeWindow(start, end) for start, end in pairwise(borders)]


def _hours(time_range: TimeWindow) -> list[datetime]:
    first = time_range.start.replace(minute=0, second=0, microsecond=0)
    count = -(-(time_range.end - first) // _HOUR)
    return [first + number * _HOUR for number in range(count + 1)]


def _local_date(instant: datetime, zone: pendulum.Timezone) -> date:
    return pendulum.instance(instant.astimezone(UTC)).in_timezone(zone).date()


def _days(first: date, last: date) -> list[date]:
    return [first + number * _DAY for number in range((last - first).days + 2)]


def _months(first: date, last: date) -> list[date]:
    return list(_month_starts(first.year * 12 + first.month - 1, last.year * 12 + last.month))


def _month_starts(first: int, last: int) -> Iterator[date]:
    for number in range(first, last + 1):
        yield date(number // 12, number % 12 + 1, 1)
