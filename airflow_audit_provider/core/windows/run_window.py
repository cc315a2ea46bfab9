"""Which window does a run cover? The one rule, for every way a run can start.

Knows: the bounds a run may carry (explicit, partition, data interval) and their order of precedence.
Must not know: Airflow's context; the shell copies it into ``RunBounds``.
Its one rule: the first source that says something decides; a run that says nothing fails naming the mend,
because guessing a window writes an empty day that looks green.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

import pendulum

from airflow_audit_provider.core.limits import DEFAULT_PARTITION_KEY_FORMAT, check_length
from airflow_audit_provider.core.windows.window import TimeWindow, format_instant
from airflow_audit_provider.exceptions import ConfigurationError

Bound = datetime | date | str | None

_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
# A date must be whole: pendulum would fill what is missing from today's date.
_WHOLE_DATE = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?", re.ASCII)
_UNSET_TEXTS = frozenset({"", "None", "none", "null"})
_MEND = (
    "Schedule the DAG with CronDataIntervalTimetable, set window_length on the operator, "
    "or give window_start and window_end."
)


@dataclass(frozen=True, slots=True)
class RunBounds:
    """What one run says about its window; None or an empty text means it does not say.

    ``window_length`` of None means a calendar day in ``timezone`` where a length is needed for a partition.
    """

    window_start: Bound = None
    window_end: Bound = None
    window_length: timedelta | None = None
    timezone: str = "UTC"
    partition_date: datetime | None = None
    partition_key: str | None = None
    partition_key_format: str = DEFAULT_PARTITION_KEY_FORMAT
    data_interval_start: datetime | None = None
    data_interval_end: datetime | None = None


class RunWindow(NamedTuple):
    """The window a run covers, the rule that decided, and the calendar date its partition is filed under."""

    window: TimeWindow
    rule: str
    partition_date: date


def resolve_run_window(bounds: RunBounds) -> RunWindow:
    """Return the half-open window a run covers; raise ``ConfigurationError`` naming the mend when it says none."""
    zone = find_zone(bounds.timezone)
    check_length("window_length", bounds.window_length)
    for rule, decide in _RULES:
        window = decide(bounds, zone)
        if window is not None:
            return RunWindow(window, rule, window.start.astimezone(zone).date())
    raise ConfigurationError(
        f"This run says nothing about a window: no data interval, no partition, no explicit bounds. {_MEND}"
    )


def resolve_watermark(since: Bound, run_started_at: datetime | None, timezone: str) -> datetime:
    """Return the instant from which activity is new: ``since``, else the start of the run's data interval."""
    watermark = _instant("since", since, find_zone(timezone)) or run_started_at
    if watermark is None:
        raise ConfigurationError(
            "This run has no data interval to watch from. Give since, for example the last run's high-water mark."
        )
    return watermark


def read_bound(name: str, bound: Bound) -> datetime | None:
    """Return one bound of a range in UTC, None when it is not set; a date or a text without offset is UTC's."""
    instant = _instant(name, bound, find_zone("UTC"))
    if instant is not None and instant.tzinfo is None:
        raise ConfigurationError(f"{name} {instant.isoformat()} has no time zone. Give it one, or give it as text.")
    # Through the text, so that a pendulum instant becomes a standard one.
    return datetime.fromisoformat(instant.astimezone(UTC).isoformat()) if instant is not None else None


def _explicit(bounds: RunBounds, zone: pendulum.Timezone) -> TimeWindow | None:
    """Both bounds, or one bound and the length."""
    start = _instant("window_start", bounds.window_start, zone)
    end = _instant("window_end", bounds.window_end, zone)
    if start is None and end is None:
        return None
    length = bounds.window_length
    if start is None and end is not None and length is not None:
        return TimeWindow(end - length, end)
    if start is not None and end is None and length is not None:
        return TimeWindow(start, start + length)
    if start is None or end is None:
        given = "window_start" if start is not None else "window_end"
        raise ConfigurationError(f"Only {given} is given. Give the other bound too, or a window_length.")
    return TimeWindow(start, end)


def _partition(bounds: RunBounds, zone: pendulum.Timezone) -> TimeWindow | None:
    """The partition's date (or its key, parsed), plus one length; a calendar day in the time zone by default."""
    start = bounds.partition_date or _partition_key_start(bounds, zone)
    if start is None:
        return None
    local = pendulum.instance(start, tz=zone).in_timezone(zone)
    if bounds.window_length is not None:
        return window_from(local, bounds.window_length, zone)
    if local != local.start_of("day"):
        raise ConfigurationError(
            f"The partition starts at {local.isoformat()}, which is no midnight in {bounds.timezone}, so a calendar "
            "day from there would leave hours out. Give the operator the timetable's timezone, or a window_length."
        )
    return window_from(local, _DAY, zone)


def _partition_key_start(bounds: RunBounds, zone: pendulum.Timezone) -> datetime | None:
    key = _set_text(bounds.partition_key)
    if key is None:
        return None
    try:
        parsed = datetime.strptime(key, bounds.partition_key_format)
    except ValueError as error:
        raise ConfigurationError(
            f"The partition key {key!r} does not follow {bounds.partition_key_format!r}. "
            "Use keys of that form, or give the operator their partition_key_format, or window_start and window_end."
        ) from error
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=zone)


def _data_interval(bounds: RunBounds, _zone: pendulum.Timezone) -> TimeWindow | None:
    """The data interval, where it has a length."""
    start, end = bounds.data_interval_start, bounds.data_interval_end
    if start is None or end is None or start == end:
        return None
    return TimeWindow(start, end)


def _zero_length_interval(bounds: RunBounds, zone: pendulum.Timezone) -> TimeWindow | None:
    """Equal bounds: the window of ``window_length`` that ends there, aligned down to a multiple of the length."""
    start, end = bounds.data_interval_start, bounds.data_interval_end
    if start is None or end is None:
        return None
    if bounds.window_length is None:
        raise ConfigurationError(
            f"The run's data interval has no length: it starts and ends at {format_instant(end)}, as "
            f'schedule="@daily" and CronTriggerTimetable make it. Reading it would write an empty day. {_MEND}'
        )
    return window_before(end, bounds.window_length, zone)


_RULES = (
    ("explicit bounds", _explicit),
    ("partition", _partition),
    ("data interval", _data_interval),
    ("window length before a zero-length data interval", _zero_length_interval),
)


def window_before(instant: datetime, length: timedelta, zone: pendulum.Timezone) -> TimeWindow:
    """Return the last window of a length that ends at or before an instant, aligned to multiples of the length.

    Lengths that divide an hour are counted in UTC, so that an hour a clock runs through twice is two hours. Longer ones
    go by the wall clock, from midnight on: a day is from midnight to midnight, 23 or 25 hours at a change, as cron
    schedules have it. Either way the windows of one length follow each other without gap or overlap.
    """
    if _is_absolute(length):
        utc = pendulum.instance(instant).in_timezone("UTC")
        end = utc - timedelta(minutes=utc.minute, seconds=utc.second, microseconds=utc.microsecond) % length
        return TimeWindow(end - length, end)
    local = pendulum.instance(instant).in_timezone(zone)
    clock = timedelta(hours=local.hour, minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
    ends_at = local.naive() - (clock if length % _DAY == timedelta(0) else clock % length)
    return TimeWindow(_on_the_clock(ends_at - length, zone), _on_the_clock(ends_at, zone))


def window_from(local: pendulum.DateTime, length: timedelta, zone: pendulum.Timezone) -> TimeWindow:
    """Return the window of a length that starts at an instant, measured as :func:`window_before` does."""
    end = local + length if _is_absolute(length) else _on_the_clock(local.naive() + length, zone)
    return TimeWindow(local, end)


def _is_absolute(length: timedelta) -> bool:
    return _HOUR % length == timedelta(0)


def _on_the_clock(shown_at: datetime, zone: pendulum.Timezone) -> pendulum.DateTime:
    """Return the first instant at which the wall clock shows a time; where it never does, one beside the change."""
    return pendulum.datetime(
        shown_at.year,
        shown_at.month,
        shown_at.day,
        shown_at.hour,
        shown_at.minute,
        shown_at.second,
        shown_at.microsecond,
        tz=zone,
        fold=0,
    )


def _instant(name: str, bound: Bound, zone: pendulum.Timezone) -> datetime | None:
    """Read a bound: a datetime, a date (local midnight) or RFC 3339 text; text without offset is local time."""
    if isinstance(bound, str):
        return _instant_from_text(name, bound, zone)
    if bound is None or isinstance(bound, datetime):
        return bound
    if not isinstance(bound, date):
        raise ConfigurationError(f"{name} is {bound!r}. Give a datetime, a date or RFC 3339 text.")
    return pendulum.datetime(bound.year, bound.month, bound.day, tz=zone)


def _instant_from_text(name: str, text: str, zone: pendulum.Timezone) -> datetime | None:
    given = _set_text(text)
    if given is None:
        return None
    try:
        parsed = pendulum.parse(given, tz=zone) if _WHOLE_DATE.fullmatch(given) else None
    except ValueError:
        parsed = None
    if not isinstance(parsed, pendulum.DateTime):
        raise ConfigurationError(
            f"{name} {text!r} is not a date or a time. Give RFC 3339 text such as 2026-11-01T00:00:00Z."
        )
    return parsed


def _set_text(text: str | None) -> str | None:
    return None if text is None or text.strip() in _UNSET_TEXTS else text.strip()


def find_zone(name: str) -> pendulum.Timezone:
    """Return a time zone; raise ``ConfigurationError`` for a name that is none."""
    try:
        return pendulum.timezone(name)
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise ConfigurationError(
            f"There is no time zone {name!r}. Give an IANA name such as UTC or Europe/Berlin."
        ) from error
