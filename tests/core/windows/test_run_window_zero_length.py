"""Windows of zero-length intervals follow each other without gap or overlap, also when clocks change."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pendulum
import pytest

from airflow_audit_provider.core.windows.run_window import RunBounds, resolve_run_window
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import ConfigurationError

CHANGES = [date(2026, 3, 27), date(2026, 10, 23), date(2026, 10, 30), date(2026, 4, 3), date(2026, 10, 2)]
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]


def _before(run_at: datetime, length: timedelta, zone: str) -> TimeWindow:
    """Returns the window of a run whose data interval has no length."""
    bounds = RunBounds(window_length=length, timezone=zone, data_interval_start=run_at, data_interval_end=run_at)
    return resolve_run_window(bounds).window


def _check_no_gaps(windows: list[TimeWindow]) -> None:
    for earlier, later in pairwise(windows):
        assert later == earlier or later.start == earlier.end, (earlier, later)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("first", CHANGES)
@pytest.mark.parametrize("hours", [6, 12, 24, 48])
def test_runs_by_the_wall_clock_leave_no_gap(zone: str, first: date, hours: int) -> None:
    """Every 6, 12, 24 or 48 local hours each window starts where the last one ended."""
    step = min(hours, 24)
    runs = [
        pendulum.datetime(first.year, first.month, first.day, hour, tz=zone).add(days=day)
        for day in range(6)
        for hour in range(0, 24, step)
        if hours < 48 or day % 2 == 0
    ]
    _check_no_gaps([_before(run, timedelta(hours=hours), zone) for run in runs])


@pytest.mark.integration
@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("first", CHANGES)
@pytest.mark.parametrize("minutes", [60, 30, 15, 5])
def test_runs_of_an_hour_or_less_leave_no_gap(zone: str, first: date, minutes: int) -> None:
    """Runs of an hour or less follow elapsed time: a repeated hour is two windows."""
    began = pendulum.datetime(first.year, first.month, first.day, tz=zone)
    length = timedelta(minutes=minutes)
    _check_no_gaps([_before(began + number * length, length, zone) for number in range(4 * 24 * 60 // minutes)])


def test_late_run_has_the_last_complete_window() -> None:
    """A run at twenty past has the hour that ended at the full hour."""
    window = _before(datetime(2026, 11, 2, 5, 20, tzinfo=UTC), timedelta(hours=1), "UTC")
    assert str(window) == "[2026-11-02T04:00:00Z, 2026-11-02T05:00:00Z)"


@pytest.mark.parametrize(("day", "hours"), [(24, 24), (25, 25), (26, 24)])
def test_a_partition_of_a_day_is_as_long_as_the_day(day: int, hours: int) -> None:
    """A length of one day is a calendar day of the time zone."""
    bounds = RunBounds(timezone="Europe/Berlin", window_length=timedelta(days=1), partition_key=f"2026-10-{day}")
    assert resolve_run_window(bounds).window.length == timedelta(hours=hours)


def test_partition_that_does_not_start_at_midnight_is_an_error() -> None:
    """A midnight of another zone than the operator's would leave hours out, so it is an error."""
    start = pendulum.datetime(2026, 10, 25, tz="Europe/Berlin")
    with pytest.raises(ConfigurationError, match=r"not midnight in UTC.*Give the operator the timetable's timezone"):
        resolve_run_window(RunBounds(partition_date=start))


@pytest.mark.parametrize("text", ["now", "12:00", "12:00:00Z", "2026", "2026-11", "2026-W05", "2026-305"])
def test_bound_without_a_complete_date_is_an_error(text: str) -> None:
    """An incomplete date would be completed from today's, so it is an error."""
    with pytest.raises(ConfigurationError, match="not a date or a time"):
        resolve_run_window(RunBounds(window_start=text, window_end="2099-01-01"))
