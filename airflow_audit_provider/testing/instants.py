"""Conversion between RFC 3339 text and whole nanoseconds since 1970 in UTC.

Invariant: no floating point, so nothing is rounded.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

SECOND_NS = 1_000_000_000
DAY_NS = 86_400 * SECOND_NS
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)"
    r"(?:[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9})\d*)?(?:([Zz])|([+-])(\d\d):?(\d\d)))?",
    re.ASCII,
)


def parse_instant(text: str) -> int:
    """Returns the nanoseconds of an RFC 3339 date (midnight UTC) or date-time; raises ValueError for other text."""
    found = _RFC3339.fullmatch(text)
    if not found:
        raise ValueError(f"not an RFC 3339 date or date-time: {text!r}")
    day, hour, minute, second, fraction, _, sign, offset_hours, offset_minutes = found.groups()
    start = day_start(day_number(date.fromisoformat(day)))
    if hour is None:
        return start
    if int(hour) > 23 or int(minute) > 59 or int(second) > 59:
        raise ValueError(f"no such time of day: {text!r}")
    seconds = int(hour) * 3600 + int(minute) * 60 + int(second)
    if sign:
        shift = int(offset_hours) * 3600 + int(offset_minutes) * 60
        seconds += -shift if sign == "+" else shift
    return start + seconds * SECOND_NS + int((fraction or "0").ljust(9, "0"))


def format_instant(time_ns: int, digits: int = 9, offset_minutes: int = 0) -> str:
    """Returns RFC 3339 text with 0 to 9 fraction digits (truncated), in a zone that is so many minutes ahead of UTC."""
    seconds, fraction = divmod(time_ns, SECOND_NS)
    local = EPOCH + timedelta(seconds=seconds + offset_minutes * 60)
    tail = f".{fraction:09d}"[: digits + 1] if digits else ""
    sign, ahead = ("-", -offset_minutes) if offset_minutes < 0 else ("+", offset_minutes)
    zone = f"{sign}{ahead // 60:02d}:{ahead % 60:02d}" if offset_minutes else "Z"
    return local.strftime("%Y-%m-%dT%H:%M:%S") + tail + zone


def to_ns(instant: datetime) -> int:
    """Returns the nanoseconds of an aware datetime."""
    elapsed = instant - EPOCH
    return (elapsed.days * 86_400 + elapsed.seconds) * SECOND_NS + elapsed.microseconds * 1000


def day_number(day: date) -> int:
    """Returns the days since 1970-01-01."""
    return day.toordinal() - 719_163


def day_of(time_ns: int) -> int:
    """Returns the number of an instant's UTC day."""
    return time_ns // DAY_NS


def day_start(day: int) -> int:
    """Returns the first nanosecond of a day."""
    return day * DAY_NS
