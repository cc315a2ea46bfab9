"""A run's window is divided into whole hours, days or months of a time zone, without gap or overlap."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_audit_provider.core.windows.partitions import divide
from airflow_audit_provider.core.windows.run_window import RunBounds, RunWindow, resolve_run_window
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import ConfigurationError
from tests.hypothesis_profiles import examples

BERLIN = "Europe/Berlin"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def _range(start: str, end: str, timezone: str = "UTC") -> RunWindow:
    return resolve_run_window(RunBounds(window_start=start, window_end=end, timezone=timezone))


@pytest.mark.parametrize(
    ("start", "end", "partition_by", "timezone", "count", "lengths"),
    [
        ("2026-10-01", "2026-11-01", "day", "UTC", 31, {DAY}),
        ("2026-10-01", "2026-11-01", "day", BERLIN, 31, {DAY, DAY + HOUR}),
        ("2026-03-01", "2026-04-01", "day", BERLIN, 31, {DAY, DAY - HOUR}),
        ("2026-10-25", "2026-10-26", "hour", BERLIN, 25, {HOUR}),
        ("2026-03-29", "2026-03-30", "hour", BERLIN, 23, {HOUR}),
        ("2026-03-01", "2026-03-02", "hour", "Asia/Kolkata", 24, {HOUR}),
        # Clocks change by half an hour, and at midnight.
        ("2026-04-05", "2026-04-06", "hour", "Australia/Lord_Howe", 24, {HOUR, HOUR * 1.5}),
        ("2026-04-23", "2026-04-26", "day", "Africa/Cairo", 3, {DAY, DAY - HOUR}),
        # That zone had no 30 December 2011.
        ("2011-12-28", "2012-01-02", "day", "Pacific/Apia", 4, {DAY}),
        ("2026-01-01", "2026-03-01", "month", "UTC", 2, {31 * DAY, 28 * DAY}),
        ("2026-10-01", "2026-11-01", "month", BERLIN, 1, {31 * DAY + HOUR}),
    ],
)
def test_range_is_divided_at_the_borders_of_its_time_zone(
    start: str, end: str, partition_by: str, timezone: str, count: int, lengths: set[timedelta]
) -> None:
    """Days and hours have the length that the clock gives them, and follow each other."""
    whole = _range(start, end, timezone)
    found = divide(whole, partition_by, timezone)
    assert len(found) == count
    assert {each.window.length for each in found} == lengths
    assert (found[0].window.start, found[-1].window.end) == (whole.window.start, whole.window.end)
    assert all(first.window.end == second.window.start for first, second in pairwise(found))
    assert {each.rule for each in found} == {"explicit bounds"}


# Clocks change at midnight: it is left out on the first five dates, and comes twice on the others.
CHANGES_AT_MIDNIGHT = [
    ("Africa/Cairo", date(2026, 4, 24), 23),
    ("America/Havana", date(2026, 3, 8), 23),
    ("America/Santiago", date(2026, 9, 6), 23),
    ("Asia/Beirut", date(2026, 3, 29), 23),
    ("Atlantic/Azores", date(2026, 3, 29), 23),
    ("America/Havana", date(2026, 11, 1), 25),
    ("Atlantic/Azores", date(2026, 10, 25), 25),
]


@pytest.mark.parametrize(("timezone", "changing", "hour_count"), CHANGES_AT_MIDNIGHT)
@pytest.mark.parametrize("before", [0, 1, 20])
def test_days_have_a_date_of_their_own_where_clocks_change_at_midnight(
    timezone: str, changing: date, hour_count: int, before: int
) -> None:
    """A range that is given by dates is accepted, also if it begins or ends at the change."""
    first, last = changing - before * DAY, changing + DAY
    found = divide(_range(str(first), str(last), timezone), "day", timezone)
    assert [each.partition_date for each in found] == [first + number * DAY for number in range(before + 1)]
    assert found[-1].window.length == hour_count * HOUR
    until = _range(str(changing - DAY), str(changing), timezone)
    assert [each.partition_date for each in divide(until, "day", timezone)] == [changing - DAY]


@pytest.mark.parametrize(("timezone", "changing", "hour_count"), CHANGES_AT_MIDNIGHT)
def test_hours_and_months_divide_a_day_that_a_clock_change_begins(
    timezone: str, changing: date, hour_count: int
) -> None:
    """Each hour is of the day's date, and the month ends with its last day."""
    hours = divide(_range(str(changing), str(changing + DAY), timezone), "hour", timezone)
    assert [each.partition_date for each in hours] == [changing] * hour_count
    first = changing.replace(day=1)
    following = (first + 31 * DAY).replace(day=1)
    (month,) = divide(_range(str(first), str(following), timezone), "month", timezone)
    assert month.partition_date == first


@examples(100)
@given(
    days=st.integers(0, 500),
    count=st.integers(1, 40),
    timezone=st.sampled_from(
        ["UTC", BERLIN, "America/Havana", "America/Sao_Paulo", "Africa/Cairo", "Australia/Lord_Howe"]
    ),
)
def test_each_day_is_the_window_of_a_run_of_its_own(days: int, count: int, timezone: str) -> None:
    """A run for the partition of a day has the same window and partition date."""
    first = date(2025, 6, 1) + days * DAY
    alone = [
        resolve_run_window(RunBounds(partition_key=str(first + number * DAY), timezone=timezone))
        for number in range(count)
    ]
    whole = TimeWindow(alone[0].window.start, alone[-1].window.end)
    found = divide(RunWindow(whole, "partition", first), "day", timezone)
    assert found == alone


@pytest.mark.parametrize(
    ("start", "end", "partition_by", "remedy"),
    [
        ("2026-10-01T01:00:00Z", "2026-11-01", "day", "2026-10-01T00:00:00Z and 2026-11-01T00:00:00Z"),
        ("2026-10-01", "2026-11-01T12:00:00Z", "day", "2026-10-01T00:00:00Z and 2026-11-02T00:00:00Z"),
        ("2026-10-02", "2026-11-01", "month", "2026-10-01T00:00:00Z and 2026-11-01T00:00:00Z"),
        ("2026-10-01T00:30:00Z", "2026-10-01T01:30:00Z", "hour", "2026-10-01T00:00:00Z and 2026-10-01T02:00:00Z"),
    ],
)
def test_part_of_a_partition_is_refused_with_the_whole_range(
    start: str, end: str, partition_by: str, remedy: str
) -> None:
    """The error names the bounds to give."""
    with pytest.raises(ConfigurationError, match=remedy):
        divide(_range(start, end), partition_by, "UTC")


def test_window_of_another_time_zone_is_refused() -> None:
    """Days of UTC are no days of Berlin."""
    with pytest.raises(ConfigurationError, match="Europe/Berlin"):
        divide(_range("2026-10-01", "2026-10-03"), "day", BERLIN)


def test_mistyped_year_is_refused_before_it_is_divided() -> None:
    """A century of hours would fill the memory."""
    window = TimeWindow(datetime(1926, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))
    with pytest.raises(ConfigurationError, match="more than 20000 hours"):
        divide(RunWindow(window, "explicit bounds", date(1926, 1, 1)), "hour", "UTC")


@pytest.mark.parametrize("partition_by", ["week", "", 1])
def test_other_partitions_are_refused(partition_by: str) -> None:
    """Only hours, days and months have borders that every calendar agrees on."""
    with pytest.raises(ConfigurationError, match="partition_by"):
        divide(_range("2026-10-01", "2026-10-03"), partition_by, "UTC")
