"""Days of 23 or 25 hours, because clocks change."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pendulum
import pytest

from airflow_audit_provider.core.windows.run_window import RunBounds, RunWindow, resolve_run_window

BERLIN = pendulum.timezone("Europe/Berlin")
DAYS = [(date(2026, 3, 28), 24), (date(2026, 3, 29), 23), (date(2026, 3, 30), 24), (date(2026, 10, 25), 25)]


def resolve(**bounds: Any) -> RunWindow:
    """Returns the window of a run in Berlin."""
    return resolve_run_window(RunBounds(timezone="Europe/Berlin", **bounds))


def midnight_of(day: date) -> datetime:
    """Returns a day's first instant in Berlin."""
    return pendulum.datetime(day.year, day.month, day.day, tz=BERLIN)


@pytest.mark.parametrize(("day", "hour_count"), DAYS)
@pytest.mark.parametrize("form", ["key", "date", "naive date", "utc date", "texts", "dates"])
def test_calendar_day_extends_between_local_midnights(day: date, hour_count: int, form: str) -> None:
    """However a day is given, it extends from local midnight to local midnight."""
    tomorrow = day + timedelta(days=1)
    midnight = midnight_of(day)
    bounds: dict[str, dict[str, Any]] = {
        "key": {"partition_key": day.isoformat()},
        "date": {"partition_date": midnight},
        "naive date": {"partition_date": datetime.combine(day, time())},
        "utc date": {"partition_date": midnight.astimezone(UTC)},
        "texts": {"window_start": day.isoformat(), "window_end": tomorrow.isoformat()},
        "dates": {"window_start": day, "window_end": tomorrow},
    }
    resolved = resolve(**bounds[form])
    assert resolved.window.length == timedelta(hours=hour_count)
    assert resolved.window.start == midnight
    assert resolved.partition_date == day


@pytest.mark.parametrize("first", [date(2026, 3, 26), date(2026, 10, 22)])
def test_daily_partitions_are_adjacent_across_the_change(first: date) -> None:
    """Each day's window ends where the next one starts."""
    windows = [resolve(partition_key=(first + timedelta(days=n)).isoformat()).window for n in range(7)]
    assert [window.end for window in windows[:-1]] == [window.start for window in windows[1:]]


def test_repeated_hour_is_two_hours_of_utc() -> None:
    """Explicit instants in UTC are not changed by local clocks."""
    resolved = resolve(window_start="2026-10-25T00:00:00Z", window_end="2026-10-25T02:00:00Z")
    assert resolved.window.length == timedelta(hours=2)
    assert resolved.partition_date == date(2026, 10, 25)


# Clocks change at midnight: it is left out in the first three zones, and comes twice in the others.
CHANGES_AT_MIDNIGHT = [
    ("Africa/Cairo", date(2026, 4, 24), 23),
    ("America/Santiago", date(2026, 9, 6), 23),
    ("Asia/Beirut", date(2026, 3, 29), 23),
    ("America/Havana", date(2026, 11, 1), 25),
    ("Atlantic/Azores", date(2025, 10, 26), 25),
]


@pytest.mark.parametrize(("timezone", "day", "hour_count"), CHANGES_AT_MIDNIGHT)
@pytest.mark.parametrize("form", ["key", "naive date", "date", "texts", "dates", "before"])
def test_day_begins_with_its_first_instant_where_clocks_change_at_midnight(
    timezone: str, day: date, hour_count: int, form: str
) -> None:
    """However a day is given, it has all instants of its date and no other, so that neighbours are adjacent."""
    zone, tomorrow = ZoneInfo(timezone), day + timedelta(days=1)
    noon_after = datetime.combine(tomorrow, time(12), zone)
    bounds: dict[str, dict[str, Any]] = {
        "key": {"partition_key": day.isoformat()},
        "naive date": {"partition_date": datetime.combine(day, time())},
        "date": {"partition_date": datetime.combine(day, time(), zone).astimezone(UTC).astimezone(zone)},
        "texts": {"window_start": day.isoformat(), "window_end": tomorrow.isoformat()},
        "dates": {"window_start": day, "window_end": tomorrow},
        "before": {
            "data_interval_start": noon_after,
            "data_interval_end": noon_after,
            "window_length": timedelta(days=1),
        },
    }
    resolved = resolve_run_window(RunBounds(timezone=timezone, **bounds[form]))
    window, tick = resolved.window, timedelta(microseconds=1)
    inside = [instant.astimezone(zone).date() for instant in (window.start, window.end - tick)]
    outside = [instant.astimezone(zone).date() for instant in (window.start - tick, window.end)]
    assert (inside, outside) == ([day, day], [day - timedelta(days=1), tomorrow])
    assert window.length == timedelta(hours=hour_count)
    assert resolved.partition_date == day


@pytest.mark.parametrize(("day", "hour_count"), DAYS)
def test_explicit_bound_with_a_length_of_a_day_has_the_whole_day(day: date, hour_count: int) -> None:
    """A day that is given by one bound and its length has 23 or 25 hours at a clock change, as one given otherwise."""
    whole = resolve(partition_key=day.isoformat())
    length = timedelta(days=1)
    assert resolve(window_start=day.isoformat(), window_length=length).window == whole.window
    assert resolve(window_end=day + length, window_length=length).window == whole.window
    assert whole.window.length == timedelta(hours=hour_count)
