"""A range is divided into calendar windows that follow each other without gap or overlap."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from airflow_audit_provider.core.windows.division import joined, windows_over
from airflow_audit_provider.core.windows.run_window import RunBounds, resolve_run_window
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import ConfigurationError

YEAR = TimeWindow(datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("timezone", ["UTC", "Europe/Berlin", "America/St_Johns", "Africa/Cairo", "Pacific/Apia"])
@pytest.mark.parametrize(("division", "least_count"), [("hour", 8760), ("day", 365), ("month", 12)])
def test_windows_cover_the_range_once(division: str, least_count: int, timezone: str) -> None:
    """Each window begins where the one before ends, the first and the last reach over the range, and none is left."""
    windows = windows_over(YEAR, division, timezone)
    assert least_count <= len(windows) <= least_count + 1
    (whole,) = joined(windows)
    assert whole.start <= YEAR.start < windows[0].end
    assert windows[-1].start < YEAR.end <= whole.end


@pytest.mark.parametrize(
    "timezone",
    ["UTC", "Europe/Berlin", "America/St_Johns", "Africa/Cairo", "America/Havana", "America/Santiago"],
)
def test_days_are_those_of_the_runs(timezone: str) -> None:
    """Each day is the window of a run whose partition is that date, also where the clock changes."""
    for window in windows_over(YEAR, "day", timezone):
        key = f"{window.start.astimezone(ZoneInfo(timezone)):%Y-%m-%d}"
        assert resolve_run_window(RunBounds(timezone=timezone, partition_key=key)).window == window


def test_a_zone_changes_the_borders() -> None:
    """Days of Berlin begin at 22 or 23 o'clock UTC, and the day of a clock change has another length."""
    windows = windows_over(YEAR, "day", "Europe/Berlin")
    assert {window.start.hour for window in windows} == {22, 23}
    assert [window.start.date().isoformat() for window in windows if window.length != timedelta(days=1)] == [
        "2026-03-28",
        "2026-10-24",
    ]


@pytest.mark.parametrize("timezone", ["UTC", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe", "America/Havana"])
def test_hours_begin_at_whole_hours_of_the_wall_clock(timezone: str) -> None:
    """A zone that is half an hour off UTC has hours of its own; a clock change of half an hour makes a longer one."""
    windows, zone = windows_over(YEAR, "hour", timezone), ZoneInfo(timezone)
    assert {window.start.astimezone(zone).minute for window in windows} == {0}
    odd = [window.length for window in windows if window.length != timedelta(hours=1)]
    assert odd == ([timedelta(minutes=90)] * 2 if timezone == "Australia/Lord_Howe" else [])


@pytest.mark.parametrize("instant", ["2026-04-04T14:20:00", "2026-04-04T15:10:00", "2026-10-03T15:40:00"])
def test_range_at_a_change_of_half_an_hour_has_the_hour_of_the_year(instant: str) -> None:
    """The hour around an instant is the same however little of it the range has."""
    at = datetime.fromisoformat(instant).replace(tzinfo=UTC)
    (hour,) = windows_over(TimeWindow(at, at + timedelta(minutes=1)), "hour", "Australia/Lord_Howe")
    assert hour.start <= at < hour.end
    assert hour in windows_over(YEAR, "hour", "Australia/Lord_Howe")


def test_range_inside_one_window_has_that_window() -> None:
    """A range of a minute is divided into the whole window around it."""
    minute = TimeWindow(YEAR.start + timedelta(hours=5), YEAR.start + timedelta(hours=5, minutes=1))
    assert windows_over(minute, "month") == [TimeWindow(YEAR.start, datetime(2026, 2, 1, tzinfo=UTC))]
    assert windows_over(minute, "hour")[0].length == timedelta(hours=1)


def test_joined_keeps_gaps() -> None:
    """Adjacent windows are one span, and a gap begins another."""
    days = windows_over(YEAR, "day")
    assert joined([*days[:3], *days[5:7]]) == [
        TimeWindow(days[0].start, days[2].end),
        TimeWindow(days[5].start, days[6].end),
    ]
    assert joined([]) == []


def test_unknown_division_is_refused() -> None:
    """A week is no division."""
    with pytest.raises(ConfigurationError, match="hour, day, month"):
        windows_over(YEAR, "week")
