"""Times of Logpush rows: RFC 3339 text, Unix seconds or Unix nanoseconds, as numbers or as text.

Cloudflare docs, ``timestamp_format``: ``unixnano`` (default of the API), ``unix``, and ``rfc3339``, in seconds.

Invariant: a value is read as seconds or nanoseconds by its size alone, and no size can be both: seconds have at most
eleven digits until the year 5138, nanoseconds have seventeen or more since 1973.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from airflow_audit_provider.core.api.records import is_event_time, parse_event_time
from airflow_audit_provider.core.windows.window import SECOND_NS, format_second

_MOST_SECONDS = 10**11
_FEWEST_NANOSECONDS = 10**17
# A float has 53 bits: of today's nanoseconds it keeps multiples of 256.
_FLOAT_UNIT_NS = 1024


class ReadTime(NamedTuple):
    """An instant in nanoseconds since the epoch, and the unit in which it was stated."""

    event_ns: int
    unit_ns: int


class TimeForm(NamedTuple):
    """How a job writes times: its ``timestamp_format``, and whether numbers are texts."""

    timestamp_format: str = "rfc3339"
    is_text: bool = False

    def write(self, event_ns: int) -> int | str:
        """Returns an instant as the job writes it; Logpush cuts it to whole seconds, except in nanoseconds."""
        second = event_ns // SECOND_NS
        if self.timestamp_format == "rfc3339":
            return format_second(second)
        number = event_ns if self.timestamp_format == "unixnano" else second
        return str(number) if self.is_text else number


def form_of(value: Any) -> TimeForm:
    """Returns the form of a time that :func:`read_time` reads."""
    if isinstance(value, str) and value[4:5] == "-":
        return TimeForm()
    found = read_time(value)
    is_nano = found is not None and found.unit_ns not in (SECOND_NS, SECOND_NS // 1_000_000)
    return TimeForm("unixnano" if is_nano else "unix", isinstance(value, str))


def read_time(value: Any) -> ReadTime | None:
    """Returns a time; None for what is none, and for a zero that stands for no time."""
    try:
        found = _read_text(value) if isinstance(value, str) else _read_number(value)
    except (ValueError, OverflowError):
        return None
    return found if found is not None and is_event_time(found.event_ns) else None


def _read_text(text: str) -> ReadTime | None:
    text = text.strip()
    if text.isascii() and text.isdecimal() and len(text) < 25:
        return _read_number(int(text))
    if text[4:5] != "-":
        return _read_number(float(text))
    fraction = text[20:].rstrip("Zz").partition("+")[0].partition("-")[0] if text[19:20] in (".", ",") else ""
    return ReadTime(parse_event_time(text), 10 ** max(0, 9 - len(fraction)))


def _read_number(value: Any) -> ReadTime | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if 0 < value < _MOST_SECONDS:
        is_whole = isinstance(value, int) or value.is_integer()
        return ReadTime(round(value * SECOND_NS), SECOND_NS if is_whole else SECOND_NS // 1_000_000)
    if value >= _FEWEST_NANOSECONDS:
        return ReadTime(round(value), 1 if isinstance(value, int) else _FLOAT_UNIT_NS)
    return None
