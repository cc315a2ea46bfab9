"""Pauses between two polls of an audit log."""

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


def test_polls_have_a_fixed_interval() -> None:
    """Without backing off every pause is the interval."""
    assert [PollSchedule(30).pause_seconds(count) for count in (1, 2, 1000)] == [30, 30, 30]


def test_backing_off_doubles_up_to_the_longest() -> None:
    """A schedule that backs off doubles its pause each time, up to its longest pause if it has one."""
    assert [PollSchedule(10, backs_off=True).pause_seconds(count) for count in (1, 2, 3)] == [10, 20, 40]
    assert [PollSchedule(10, backs_off=True, longest_seconds=25).pause_seconds(count) for count in (1, 2, 3)] == [
        10,
        20,
        25,
    ]


@pytest.mark.parametrize("schedule", [PollSchedule(0), PollSchedule(0.01), PollSchedule(5, longest_seconds=0)])
def test_pause_is_at_least_a_second(schedule: PollSchedule) -> None:
    """At least one second passes between two polls, also after a failure."""
    assert schedule.pause_seconds(1) >= 1
    assert schedule.pause_after_failure(UNAVAILABLE, 1) >= 1


def test_pause_doubles_with_failures_in_a_row() -> None:
    """The pause doubles from failure to failure up to ten minutes, also for a rejected credential."""
    schedule = PollSchedule(60)
    for error in (UNAVAILABLE, SourceAuthError("x", status=401), OSError("x")):
        pauses = [schedule.pause_after_failure(error, count) for count in (1, 2, 3, 4, 5, 100)]
        assert pauses == [120, 240, 480, 600, 600, 600]


def test_a_long_interval_is_not_shortened_by_failures() -> None:
    """A failure does not make an hourly poll more frequent."""
    assert PollSchedule(3600).pause_after_failure(UNAVAILABLE, 1) == 3600


def test_retry_after_is_the_shortest_pause() -> None:
    """A rate limit's wait applies even if the schedule is faster."""
    assert PollSchedule(5).pause_after_failure(SourceRateLimitedError("x", retry_after=300.0), 1) == 300
    assert PollSchedule(5).pause_after_failure(SourceRateLimitedError("x"), 1) == 10


@pytest.mark.parametrize("header", ["1e9", "inf", "nan", "-5", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_invalid_retry_after_is_ignored(header: str) -> None:
    """An implausible wait is ignored: the pause is that of any failure."""
    retry_after = retry_after_seconds({"retry-after": header}, datetime(2026, 11, 1, tzinfo=UTC))
    assert PollSchedule(5).pause_after_failure(SourceRateLimitedError("x", retry_after=retry_after), 1) == 10


def test_retry_after_is_limited_to_an_hour() -> None:
    """A longer wait is limited to an hour, or to the interval if that is longer."""
    error = SourceRateLimitedError("x", retry_after=86_400.0)
    assert PollSchedule(5).pause_after_failure(error, 1) == 3600
    assert PollSchedule(7200).pause_after_failure(error, 1) == 7200


def test_incomplete_poll_is_followed_without_a_pause() -> None:
    """Only a poll that reached its limit is followed by the next one without a pause."""
    backoff = PollBackoff(PollSchedule(10))
    assert [backoff.after_poll(is_complete=False), backoff.after_poll()] == [0, 10]


def test_successful_poll_resets_the_failures() -> None:
    """After a successful poll the next failure is the first one again."""
    backoff = PollBackoff(PollSchedule(10))
    pauses = [
        backoff.after_failure(UNAVAILABLE),
        backoff.after_failure(UNAVAILABLE),
        backoff.after_poll(),
        backoff.after_failure(UNAVAILABLE),
    ]
    assert pauses == [20, 40, 10, 20]


@pytest.mark.parametrize("seconds", [0, -1, True, nan, inf, "60", None])
def test_invalid_seconds_are_an_error(seconds: Any) -> None:
    """A value that is not a positive, finite number is an error with the argument's name."""
    with pytest.raises(ConfigurationError, match="poll_interval_seconds"):
        check_seconds("poll_interval_seconds", seconds)


@pytest.mark.parametrize("seconds", [1, 0.5, 3600])
def test_positive_seconds_are_accepted(seconds: float) -> None:
    """Any positive number is accepted."""
    check_seconds("poll_interval_seconds", seconds)
