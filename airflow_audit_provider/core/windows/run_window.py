"""Resolves the window that a run covers, for every way a run can start.

The sources have an order of precedence: explicit bounds, partition, data interval. The first one that is set decides.
The Airflow layer copies a run's context into ``RunBounds``.

Invariant: a run without a window fails with the remedy. A guessed window would write an empty day that looks fine.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

import pendulum

from airflow_audit_provider.core.limits import DEFAULT_PARTITION_KEY_FORMAT, check_length
from airflow_audit_provider.core.windows.window import TimeWindow, format_instant
from airflow_audit_provider.exceptions import ConfigurationError

Bound = datetime | date | str | None

_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
# A date must be complete: pendulum would take missing parts from today's date.
_WHOLE_DATE = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?", re.ASCII)
_UNSET_TEXTS = frozenset({"", "None", "none", "null"})
_ZERO_LENGTH_REMEDY = (
    "Schedule the DAG with CronDataIntervalTimetable, set window_length on the operator, "
    "or give window_start and window_end."
)
# A run that is triggered without a logical date has no data interval, so a window_length has no end to count from. With
# a logical date, only CronDataIntervalTimetable gives it an interval that has a length.
_NO_WINDOW_REMEDY = (
    "Trigger the run with a logical date, and schedule the DAG with CronDataIntervalTimetable or set window_length on "
    "the operator; or give window_start and window_end."
)
_NO_WINDOW_REMEDY_WITH_LENGTH = "Trigger the run with a logical date, or give window_start and window_end."


@dataclass(frozen=True, slots=True)
class RunBounds:
    """The bounds that one run carries; None or an empty text means not set.

    Without ``window_length``, a partition is a calendar day in ``timezone``.
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
    """The window of a run, the rule that decided it, and the calendar date of its partition."""

    window: TimeWindow
    rule: str
    partition_date: date


def resolve_run_window(bounds: RunBounds) -> RunWindow:
    """Returns the half-open window of a run; raises ``ConfigurationError`` with the remedy if it has none."""
    zone = find_zone(bounds.timezone)
    check_length("window_length", bounds.window_length)
    for rule, decide in _RULES:
        window = decide(bounds, zone)
        if window is not None:
            return RunWindow(window, rule, window.start.astimezone(zone).date())
    remedy = _NO_WINDOW_REMEDY if bounds.window_length is None else _NO_WINDOW_REMEDY_WITH_LENGTH
    raise ConfigurationError(f"This run has no window: no data interval, no partition, no explicit bounds. {remedy}")


def resolve_watermark(since: Bound, run_started_at: datetime | None, timezone: str) -> datetime:
    """Returns the instant from which activity is new: ``since``, else the start of the run's data interval."""
    watermark = _instant("since", since, find_zone(timezone)) or run_started_at
    if watermark is None:
        raise ConfigurationError(
            "This run has no data interval to watch from. Set the argument since, for example to the end of the last "
            "run's window."
        )
    return watermark


def read_bound(name: str, bound: Bound, timezone: str = "UTC") -> datetime | None:
    """Returns one bound of a range in UTC, None if it is not set; a date or a text without offset is local time."""
    instant = _instant(name, bound, find_zone(timezone))
    if instant is not None and instant.tzinfo is None:
        raise ConfigurationError(
            f"{name} is {instant.isoformat()}, which has no time zone. Add a time zone, or give the time as text."
        )
    # The conversion to text and back turns a pendulum instant into a standard one.
    return datetime.fromisoformat(instant.astimezone(UTC).isoformat()) if instant is not None else None


def _explicit(bounds: RunBounds, zone: pendulum.Timezone) -> TimeWindow | None:
    """Returns the window of both bounds, or of one bound and the length."""
    start = _instant("window_start", bounds.window_start, zone)
    end = _instant("window_end", bounds.window_end, zone)
    if start is None and end is None:
        return None
    length = bounds.window_length
    if start is None and end is not None and length is not None:
        return window_until(_local(end, zone), length, zone)
    if start is not None and end is None and length is not None:
        return window_from(_local(start, zone), length, zone)
    if start is None or end is None:
        given = "window_start" if start is not None else "window_end"
        raise ConfigurationError(f"Only {given} is given. Give the other bound too, or a window_length.")
    return TimeWindow(start, end)


def _partition(bounds: RunBounds, zone: pendulum.Timezone) -> TimeWindow | None:
    """Returns the window from the partition's date, or its parsed key, on; by default a calendar day."""
    start = bounds.partition_date or _partition_key_start(bounds)
    if start is None:
        return None
    local = _local(start, zone) if start.tzinfo else first_at_wall_time(start, zone)
    midnight = first_instant_of(local, zone)
    # A midnight that comes twice is the first one, so that the days are adjacent.
    local = midnight if local.naive() == midnight.naive() else local
    if bounds.window_length is not None:
        return window_from(local, bounds.window_length, zone)
    if local != midnight:
        raise ConfigurationError(
            f"The partition starts at {local.isoformat()}, which is not midnight in {bounds.timezone}, so a calendar "
            "day from there would leave hours out. Give the operator the timetable's timezone, or a window_length."
        )
    return window_from(local, _DAY, zone)


def _partition_key_start(bounds: RunBounds) -> datetime | None:
    key = _set_text(bounds.partition_key)
    if key is None:
        return None
    try:
        return datetime.strptime(key, bounds.partition_key_format)
    except ValueError as error:
        raise ConfigurationError(
            f"The partition key {key!r} does not have the format {bounds.partition_key_format!r}. "
            "Use keys of that format, or give the operator their partition_key_format, or window_start and window_end."
        ) from error


def _data_interval(bounds: RunBounds, _zone: pendulum.Timezone) -> TimeWindow | None:
    """Returns the data interval, if it has a length."""
    start, end = bounds.data_interval_start, bounds.data_interval_end
    if start is None or end is None or start == end:
        return None
    return TimeWindow(start, end)


def _zero_length_interval(bounds: RunBounds, zone: pendulum.Timezone) -> TimeWindow | None:
    """Returns the window of ``window_length`` that ends at a data interval of equal bounds, aligned to the length."""
    start, end = bounds.data_interval_start, bounds.data_interval_end
    if start is None or end is None:
        return None
    if bounds.window_length is None:
        raise ConfigurationError(
            f"The run's data interval has no length: it starts and ends at {format_instant(end)}, as with "
            f'schedule="@daily" and CronTriggerTimetable. Reading it would write an empty day. {_ZERO_LENGTH_REMEDY}'
        )
    return window_before(end, bounds.window_length, zone)


_RULES = (
    ("explicit bounds", _explicit),
    ("partition", _partition),
    ("data interval", _data_interval),
    ("window length before a zero-length data interval", _zero_length_interval),
)


def window_before(instant: datetime, length: timedelta, zone: pendulum.Timezone) -> TimeWindow:
    """Returns the last window of a length that ends at or before an instant, aligned to multiples of the length.

    Lengths that divide an hour are counted in UTC, so that an hour that the clock repeats is two hours. Longer ones
    follow the wall clock from midnight on: a day is from midnight to midnight, 23 or 25 hours at a clock change, as in
    cron schedules. Either way the windows of one length follow each other without gap or overlap.
    """
    if _is_absolute(length):
        utc = pendulum.instance(instant).in_timezone("UTC")
        end = utc - timedelta(minutes=utc.minute, seconds=utc.second, microseconds=utc.microsecond) % length
        return TimeWindow(end - length, end)
    local = pendulum.instance(instant).in_timezone(zone)
    clock = timedelta(hours=local.hour, minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
    ends_at = local.naive() - (clock if length % _DAY == timedelta(0) else clock % length)
    return TimeWindow(first_at_wall_time(ends_at - length, zone), first_at_wall_time(ends_at, zone))


def window_from(local: pendulum.DateTime, length: timedelta, zone: pendulum.Timezone) -> TimeWindow:
    """Returns the window of a length that starts at an instant, measured as in :func:`window_before`."""
    end = local + length if _is_absolute(length) else first_at_wall_time(_wall_clock_at(local, zone) + length, zone)
    return TimeWindow(local, end)


def window_until(local: pendulum.DateTime, length: timedelta, zone: pendulum.Timezone) -> TimeWindow:
    """Returns the window of a length that ends at an instant, measured as in :func:`window_before`."""
    start = local - length if _is_absolute(length) else first_at_wall_time(_wall_clock_at(local, zone) - length, zone)
    return TimeWindow(start, local)


def _wall_clock_at(local: pendulum.DateTime, zone: pendulum.Timezone) -> datetime:
    """Returns what the wall clock shows; midnight for the first instant of a day whose midnight it skips."""
    return local.naive().start_of("day") if local == first_instant_of(local, zone) else local.naive()


def _local(instant: datetime, zone: pendulum.Timezone) -> pendulum.DateTime:
    return pendulum.instance(instant).in_timezone(zone)


def _is_absolute(length: timedelta) -> bool:
    return _HOUR % length == timedelta(0)


def first_at_wall_time(wall_clock_at: datetime, zone: pendulum.Timezone) -> pendulum.DateTime:
    """Returns the first instant at which the wall clock shows a time.

    A time that the clock skips is counted on from the hour before: a skipped midnight is the first instant of its date.
    """
    earlier, later = (
        pendulum.datetime(
            wall_clock_at.year,
            wall_clock_at.month,
            wall_clock_at.day,
            wall_clock_at.hour,
            wall_clock_at.minute,
            wall_clock_at.second,
            wall_clock_at.microsecond,
            tz=zone,
            fold=fold,
        )
        for fold in (0, 1)
    )
    return earlier if earlier.naive() == wall_clock_at else later


def first_instant_of(day: date, zone: pendulum.Timezone) -> pendulum.DateTime:
    """Returns the first instant of a calendar day."""
    return first_at_wall_time(datetime.combine(day, time()), zone)


def _instant(name: str, bound: Bound, zone: pendulum.Timezone) -> datetime | None:
    """Returns a bound given as datetime, date (local midnight) or RFC 3339 text; text without offset is local time."""
    if isinstance(bound, str):
        return _instant_from_text(name, bound, zone)
    if bound is None or isinstance(bound, datetime):
        return bound
    if not isinstance(bound, date):
        raise ConfigurationError(f"{name} is {bound!r}. Give a datetime, a date or RFC 3339 text.")
    return first_instant_of(bound, zone)


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
    return first_at_wall_time(parsed.naive(), zone) if parsed.timezone_name == zone.name else parsed


def _set_text(text: str | None) -> str | None:
    return None if text is None or text.strip() in _UNSET_TEXTS else text.strip()


def find_zone(name: str) -> pendulum.Timezone:
    """Returns a time zone; raises ``ConfigurationError`` for an unknown name."""
    try:
        return pendulum.timezone(name)
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise ConfigurationError(
            f"There is no time zone {name!r}. Give an IANA name such as UTC or Europe/Berlin."
        ) from error
