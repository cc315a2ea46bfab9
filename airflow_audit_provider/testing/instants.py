"""Instants as whole nanoseconds since 1970 in UTC, and their RFC 3339 text.

Knows: dates, offsets and fractions of up to nine digits.
Must not know: what time it is.
Its one rule: no floating point, so that nothing is ever rounded.
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
    """Return the nanoseconds of an RFC 3339 date (midnight UTC) or date-time; raises ValueError on anything else."""
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
    """Return RFC 3339 text with so many fraction digits (0..9, cut, not rounded), in a zone so many minutes ahead."""
    seconds, fraction = divmod(time_ns, SECOND_NS)
    local = EPOCH + timedelta(seconds=seconds + offset_minutes * 60)
    tail = f".{fraction:09d}"[: digits + 1] if digits else ""
    sign, ahead = ("-", -offset_minutes) if offset_minutes < 0 else ("+", offset_minutes)
    zone = f"{sign}{ahead // 60:02d}:{ahead % 60:02d}" if offset_minutes else "Z"
    return local.strftime("%Y-%m-%dT%H:%M:%S") + tail + zone


def to_ns(instant: datetime) -> int:
    """Return the nanoseconds of an aware datetime."""
    elapsed = instant - EPOCH
    return (elapsed.days * 86_400 + elapsed.seconds) * SECOND_NS + elapsed.microseconds * 1000


def day_number(day: date) -> int:
    """Return the days since 1970-01-01."""
    return day.toordinal() - 719_163


def day_of(time_ns: int) -> int:
    """Return the number of the UTC day an instant falls on."""
    return time_ns // DAY_NS


def day_start(day: int) -> int:
    """Return the first nanosecond of a day."""
    return day * DAY_NS
