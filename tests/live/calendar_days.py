"""Days on which these tests and their scheduled DAG files work.

Invariant: days are counted back from today, so that they never get older than the retention of the API.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

BERLIN = ZoneInfo("Europe/Berlin")
TODAY = datetime.now(UTC).date()


def days_ago(count: int) -> datetime:
    """Returns midnight UTC of the day that is so many days ago."""
    return datetime.combine(TODAY - timedelta(days=count), time(), UTC)


def berlin_midnight(day: date) -> datetime:
    """Returns the first instant of a day in Berlin."""
    return datetime.combine(day, time(), BERLIN)


def last_berlin_day_of(hours: int) -> date:
    """Returns the last day, at least a week ago, with so many hours in Berlin: 23 in spring, 25 in autumn."""
    for count in range(7, 400):
        day = TODAY - timedelta(days=count)
        length = berlin_midnight(day + timedelta(days=1)).astimezone(UTC) - berlin_midnight(day).astimezone(UTC)
        if length == timedelta(hours=hours):
            return day
    raise LookupError(f"no day of {hours} hours in more than a year")


SPRING, AUTUMN = last_berlin_day_of(23), last_berlin_day_of(25)
