"""Windows of a destination may change their length, but not overlap; an overlap is refused before the first request."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pendulum
import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.core.archive.object_keys import MANIFEST_FOLDER, WindowKeys
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
    "a day at the end of a month": ([TimeWindow(START - 30 * DAY, START + DAY)], TimeWindow(START, START + DAY)),
    "a week over the end of a month": ([TimeWindow(START - 30 * DAY, START)], TimeWindow(START - DAY, START + 6 * DAY)),
    "a quarter over its last day": ([TimeWindow(START, START + DAY)], TimeWindow(START - 89 * DAY, START + DAY)),
    "an hour at the end of a local day of 25 hours": (
        _local_days(datetime(2026, 10, 25, 12, tzinfo=UTC), BERLIN, 1),
        TimeWindow(datetime(2026, 10, 25, 22, tzinfo=UTC), datetime(2026, 10, 25, 23, tzinfo=UTC)),
    ),
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
    with pytest.raises(CommitConflictError, match="Not committed in this window: "):
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


@pytest.mark.integration
def test_announced_window_that_was_never_committed_refuses_nothing(fake: FakeCloudflare, store: LocalStore) -> None:
    """A run that ends between announcing a window and committing it leaves no obstacle, and verify finds nothing."""
    week = WindowKeys(TimeWindow(START - 5 * DAY, START + 2 * DAY), (START - 5 * DAY).date())
    assert week.announcement is not None
    store.create(week.announcement, b"{}")
    _land(fake, store, TimeWindow(START, START + DAY))
    assert verify(store).findings == ()


class _CountingStore(LocalStore):
    """A store that counts the keys it lists and the objects it reads."""

    listed_count = read_count = 0

    def list_keys(self, prefix: str) -> Iterator[str]:
        """Yields the keys, counted."""
        for key in super().list_keys(prefix):
            self.listed_count += 1
            yield key

    def read(self, key: str) -> bytes | None:
        """Reads an object, counted."""
        self.read_count += 1
        return super().read(key)


def _costs_after(day_count: int, fake: FakeCloudflare, folder: Path) -> tuple[int, int]:
    """Returns the keys listed and the objects read by a pull upon so many committed days before."""
    store = _CountingStore(str(folder))
    _land(fake, store, TimeWindow(START - DAY, START))
    (manifest_key,) = store.list_keys(MANIFEST_FOLDER)
    content = store.read(manifest_key)
    assert content is not None
    for days in range(2, day_count + 1):
        window = TimeWindow(START - days * DAY, START - (days - 1) * DAY)
        store.create(WindowKeys(window, window.start.date()).manifest(1), content)
    store.listed_count = store.read_count = 0
    _land(fake, store, TimeWindow(START, START + DAY))
    return store.listed_count, store.read_count


@pytest.mark.integration
def test_cost_of_a_pull_does_not_grow_with_the_history(fake: FakeCloudflare, tmp_path: Path) -> None:
    """A pull lists as many keys and reads as many objects after 300 days as after 3."""
    assert _costs_after(300, fake, tmp_path / "long") == _costs_after(3, fake, tmp_path / "short")
