"""How long to wait before an audit log is looked at again."""

from __future__ import annotations

from datetime import UTC, datetime
from math import inf, nan
from typing import Any

import pytest

from airflow_audit_provider.core.api.responses import retry_after_seconds
from airflow_audit_provider.core.watch.polling import PollBackoff, PollSchedule, check_seconds
from airflow_audit_provider.exceptions import (
    ConfigurationError,
    SourceAuthError,
    SourceRateLimitedError,
    SourceUnavailableError,
)

UNAVAILABLE = SourceUnavailableError("x")


def test_looks_come_at_an_interval() -> None:
    """Without backing off every pause is the interval, whichever look it follows."""
    assert [PollSchedule(30).pause_seconds(count) for count in (1, 2, 1000)] == [30, 30, 30]


def test_backing_off_doubles_up_to_the_longest() -> None:
    """A schedule that backs off waits twice as long each time, to its longest pause if it has one."""
    assert [PollSchedule(10, backs_off=True).pause_seconds(count) for count in (1, 2, 3)] == [10, 20, 40]
    assert [PollSchedule(10, backs_off=True, longest_seconds=25).pause_seconds(count) for count in (1, 2, 3)] == [
        10,
        20,
        25,
    ]


@pytest.mark.parametrize("schedule", [PollSchedule(0), PollSchedule(0.01), PollSchedule(5, longest_seconds=0)])
def test_no_pause_is_nothing(schedule: PollSchedule) -> None:
    """Whatever is asked for, a second passes between two looks, after a failure too."""
    assert schedule.pause_seconds(1) >= 1
    assert schedule.pause_after_failure(UNAVAILABLE, 1) >= 1


def test_failures_in_a_row_are_looked_after_ever_less_often() -> None:
    """The pause doubles from failure to failure up to ten minutes, for a refused credential too."""
    schedule = PollSchedule(60)
    for error in (UNAVAILABLE, SourceAuthError("x", status=401), OSError("x")):
        pauses = [schedule.pause_after_failure(error, count) for count in (1, 2, 3, 4, 5, 100)]
        assert pauses == [120, 240, 480, 600, 600, 600]


def test_a_long_interval_is_not_shortened_by_failures() -> None:
    """Who looks every hour does not look more often because of a failure."""
    assert PollSchedule(3600).pause_after_failure(UNAVAILABLE, 1) == 3600


def test_what_the_api_says_is_the_least() -> None:
    """A rate limit's time is waited for even where the schedule is quicker."""
    assert PollSchedule(5).pause_after_failure(SourceRateLimitedError("x", retry_after=300.0), 1) == 300
    assert PollSchedule(5).pause_after_failure(SourceRateLimitedError("x"), 1) == 10


@pytest.mark.parametrize("header", ["1e9", "inf", "nan", "-5", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_bad_header_stops_no_watcher(header: str) -> None:
    """A wait that no server can mean is not waited for: the pause is that of any failure."""
    retry_after = retry_after_seconds({"retry-after": header}, datetime(2026, 11, 1, tzinfo=UTC))
    assert PollSchedule(5).pause_after_failure(SourceRateLimitedError("x", retry_after=retry_after), 1) == 10


def test_nobody_waits_longer_than_an_hour_for_what_is_said() -> None:
    """A day's block may be true, but a watcher looks whether it still is; who looks less often keeps that."""
    error = SourceRateLimitedError("x", retry_after=86_400.0)
    assert PollSchedule(5).pause_after_failure(error, 1) == 3600
    assert PollSchedule(7200).pause_after_failure(error, 1) == 7200


def test_a_look_with_more_behind_it_is_gone_on_with_at_once() -> None:
    """Only where a look had enough and there is more to read does the next one follow without a pause."""
    backoff = PollBackoff(PollSchedule(10))
    assert [backoff.after_poll(is_complete=False), backoff.after_poll()] == [0, 10]


def test_a_pace_forgets_failures_after_a_look() -> None:
    """After a look that came to its end the next failure is the first one again."""
    backoff = PollBackoff(PollSchedule(10))
    pauses = [
        backoff.after_failure(UNAVAILABLE),
        backoff.after_failure(UNAVAILABLE),
        backoff.after_poll(),
        backoff.after_failure(UNAVAILABLE),
    ]
    assert pauses == [20, 40, 10, 20]


@pytest.mark.parametrize("seconds", [0, -1, True, nan, inf, "60", None])
def test_seconds_that_cannot_be(seconds: Any) -> None:
    """What is no positive, finite number is refused by its name."""
    with pytest.raises(ConfigurationError, match="poll_interval_seconds"):
        check_seconds("poll_interval_seconds", seconds)


@pytest.mark.parametrize("seconds", [1, 0.5, 3600])
def test_seconds_that_can_be(seconds: float) -> None:
    """Any positive number passes."""
    check_seconds("poll_interval_seconds", seconds)
