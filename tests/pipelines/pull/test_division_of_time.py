"""Windows of a destination may change their length, but not overlap; an overlap is refused before the first request."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pendulum
import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.core.windows.run_window import RunBounds, resolve_run_window
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import CommitConflictError
from airflow_audit_provider.pipelines.coverage import coverage
from airflow_audit_provider.pipelines.verify import verify
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from tests.pipelines.pull.landing import START, fake_with, land, objects, pull_spec, reader_of

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
BERLIN = "Europe/Berlin"


@pytest.fixture
def fake() -> FakeCloudflare:
    """A fake with a few records a day."""
    return fake_with(ManualClock(), records_per_day=24)


def _land(fake: FakeCloudflare, store: LocalStore, *windows: TimeWindow) -> None:
    for window in windows:
        land(pull_spec(start=window.start, end=window.end), reader_of(fake, ManualClock()), store)


def _each(start: datetime, length: timedelta, count: int) -> list[TimeWindow]:
    return [TimeWindow(start + number * length, start + (number + 1) * length) for number in range(count)]


def _local_days(first: datetime, zone: str, count: int) -> list[TimeWindow]:
    days = [pendulum.instance(first).in_timezone(zone).start_of("day").add(days=number) for number in range(count)]
    return [resolve_run_window(RunBounds(partition_date=day, timezone=zone)).window for day in days]


NOON = START + DAY / 2
CHANGES = {
    "days, then hours": [*_each(START, DAY, 1), *_each(START + DAY, HOUR, 3)],
    "hours from now on, days of the past later": [*_each(START + DAY, HOUR, 3), *_each(START - DAY, DAY, 2)],
    "hours in any order": [*_each(START, DAY, 1), *reversed(_each(START + DAY, HOUR, 3))],
    "hours, then days": [*_each(START, HOUR, 24), *_each(START + DAY, DAY, 1)],
    "days, a part of a day, then days from noon": [
        *_each(START - DAY, DAY, 1),
        TimeWindow(START, NOON),
        *_each(NOON, DAY, 1),
    ],
    "local days when clocks are set back": _local_days(datetime(2026, 10, 24, 12, tzinfo=UTC), BERLIN, 3),
}


@pytest.mark.integration
@pytest.mark.parametrize("change", CHANGES)
def test_change_of_schedule_without_overlap_is_accepted(change: str, fake: FakeCloudflare, store: LocalStore) -> None:
    """Each window is landed, verify finds nothing, and coverage finds no gap."""
    windows = CHANGES[change]
    _land(fake, store, *windows)
    assert verify(store).findings == ()
    (found,) = coverage(store, max(window.end for window in windows))
    assert (found.coverage.window_count, found.coverage.missing) == (len(windows), ())


OVERLAPS = {
    "an hourly DAG in a daily dataset": (_each(START, DAY, 1), TimeWindow(START + 9 * HOUR, START + 10 * HOUR)),
    "a daily DAG over an hour": ([TimeWindow(START + 9 * HOUR, START + 10 * HOUR)], TimeWindow(START, START + DAY)),
    "days shifted by a time zone": (_each(START, DAY, 2), TimeWindow(START - 2 * HOUR, START + DAY - 2 * HOUR)),
    "a week over days": (_each(START, DAY, 2), TimeWindow(START - 5 * DAY, START + 2 * DAY)),
    "a day inside a week": ([TimeWindow(START - 5 * DAY, START + 2 * DAY)], TimeWindow(START, START + DAY)),
}


@pytest.mark.integration
@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("overlap", OVERLAPS)
def test_overlap_is_refused_before_the_first_request(
    overlap: str, replace: bool, fake: FakeCloudflare, store: LocalStore
) -> None:
    """The pull fails without a request or an object, also with ``replace=True``."""
    committed, window = OVERLAPS[overlap]
    _land(fake, store, *committed)
    before, request_count = objects(store), len(fake.requests)
    with pytest.raises(CommitConflictError, match="Of this window, not committed: "):
        land(pull_spec(start=window.start, end=window.end, replace=replace), reader_of(fake, ManualClock()), store)
    assert (objects(store), len(fake.requests)) == (before, request_count)


@pytest.mark.integration
def test_day_with_a_stray_hour_is_completed_by_what_the_error_lists(fake: FakeCloudflare, store: LocalStore) -> None:
    """The spans that the error lists are landed one by one; the day then has each record once."""
    _land(fake, store, TimeWindow(START + 9 * HOUR, START + 10 * HOUR))
    with pytest.raises(CommitConflictError):
        _land(fake, store, TimeWindow(START, START + DAY))
    _land(fake, store, TimeWindow(START, START + 9 * HOUR), TimeWindow(START + 10 * HOUR, START + DAY))
    (found,) = coverage(store, START + DAY)
    assert (found.coverage.record_count, found.coverage.missing) == (24, ())
    assert verify(store).findings == ()
