"""A lookback reads recent committed windows again, and commits a next generation only where records were added."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.core.archive.manifest import Manifest
from airflow_audit_provider.core.archive.object_keys import DATASET_KEY
from airflow_audit_provider.exceptions import ConfigurationError, VerificationError
from airflow_audit_provider.pipelines.committed import latest_committed
from airflow_audit_provider.pipelines.late_records import LookbackOutcome, pull_late_records
from airflow_audit_provider.pipelines.observer import NullObserver
from airflow_audit_provider.pipelines.pull_spec import PullSpec
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from tests.pipelines.pull.landing import (
    fake_with,
    keys_of,
    land,
    landed_ids,
    objects,
    pull_spec,
    reader_of,
    record_at,
    true_ids,
)

DAY = timedelta(days=1)
FIRST = datetime(2026, 10, 23, tzinfo=UTC)
LAST = 3


@pytest.fixture
def fake() -> FakeCloudflare:
    """A fake of few records."""
    return fake_with(ManualClock(), records_per_day=50)


def _day(number: int, **changes: Any) -> PullSpec:
    return pull_spec(start=FIRST + number * DAY, end=FIRST + (number + 1) * DAY, **changes)


def _land(fake: FakeCloudflare, store: LocalStore, numbers: range = range(LAST + 1), **changes: Any) -> None:
    for number in numbers:
        land(_day(number, **changes), reader_of(fake, ManualClock()), store)


def _pull_late(fake: FakeCloudflare, store: LocalStore, lookback: timedelta, **changes: Any) -> LookbackOutcome:
    return pull_late_records(_day(LAST, **changes), lookback, reader_of(fake, ManualClock()), store, NullObserver())


def _manifest(store: LocalStore, number: int) -> Manifest:
    commit = latest_committed(store, keys_of(_day(number)))
    assert commit is not None
    return commit.manifest


@pytest.mark.integration
def test_late_records_are_added_to_their_windows(fake: FakeCloudflare, store: LocalStore) -> None:
    """Each window with late records gets a next generation that names them; the others do not change."""
    _land(fake, store)
    before = objects(store)
    fake.add(record_at("2026-10-25T03:00:00Z", "late-1"))
    fake.add(record_at("2026-10-25T23:59:59.999Z", "late-2"))
    fake.add(record_at("2026-10-26T03:00:00Z", "too new"))
    late = _pull_late(fake, store, 3 * DAY)
    assert late.summary() == {
        "lookback_windows": 3,
        "late_count": 2,
        "late_windows": {"20261025T000000Z-20261026T000000Z": 2},
    }
    assert [outcome.committed for outcome in late.outcomes] == [False, False, True]
    added = _manifest(store, 2)
    assert (added.generation, added.added_count, added.added_ids) == (2, 2, ("late-1", "late-2"))
    assert added.window_rule == "lookback"
    assert landed_ids(_day(2), store) == true_ids(fake, start=_day(2).run_window.window.start, end=FIRST + 3 * DAY)
    assert before.items() <= objects(store).items()
    # A part, a manifest, and the entry of the attempt in the commit log.
    assert len(objects(store)) == len(before) + 3


@pytest.mark.integration
def test_second_lookback_changes_nothing(fake: FakeCloudflare, store: LocalStore) -> None:
    """Without new records a lookback writes nothing and leaves nothing in staging."""
    _land(fake, store)
    fake.add(record_at("2026-10-25T03:00:00Z", "late-1"))
    assert _pull_late(fake, store, 3 * DAY).late_count == 1
    before = objects(store)
    assert _pull_late(fake, store, 3 * DAY).summary() == {"lookback_windows": 3, "late_count": 0}
    assert objects(store) == before


@pytest.mark.integration
@pytest.mark.parametrize(
    ("lookback", "count"),
    [
        (timedelta(0), 0),
        (timedelta(microseconds=1), 1),
        (DAY, 1),
        (DAY + timedelta(seconds=1), 2),
        (2 * DAY, 2),
        (30 * DAY, 3),
        (timedelta.max, 3),
    ],
)
def test_windows_that_end_inside_are_read(
    fake: FakeCloudflare, store: LocalStore, lookback: timedelta, count: int
) -> None:
    """A window is read again if it ends inside the lookback and no later than the run's window starts."""
    _land(fake, store)
    request_count = len(fake.requests)
    assert len(_pull_late(fake, store, lookback).outcomes) == count
    assert (len(fake.requests) > request_count) is (count > 0)


@pytest.mark.integration
def test_hourly_windows_across_midnight_are_read(fake: FakeCloudflare, store: LocalStore) -> None:
    """Windows shorter than a day are found across midnight, up to the one that ends where the run's window starts."""
    hour = timedelta(hours=1)
    hours = [pull_spec(start=FIRST + number * hour, end=FIRST + (number + 1) * hour) for number in range(-3, 3)]
    for spec in hours:
        land(spec, reader_of(fake, ManualClock()), store)
    late = pull_late_records(hours[-1], 4 * hour, reader_of(fake, ManualClock()), store, NullObserver())
    windows = [outcome.manifest.window for outcome in late.outcomes]
    assert windows == [spec.run_window.window for spec in hours[1:-1]]


def test_uncommitted_windows_stay_missing(fake: FakeCloudflare, store: LocalStore) -> None:
    """A lookback lands no window that is not committed."""
    _land(fake, store, range(1, 2))
    assert _pull_late(fake, store, 3 * DAY).summary() == {"lookback_windows": 1, "late_count": 0}
    assert latest_committed(store, keys_of(_day(0))) is None


@pytest.mark.integration
def test_windows_keep_their_format_and_partition_date(fake: FakeCloudflare, store: LocalStore) -> None:
    """A window keeps its committed format and partition date, whatever the new window has."""
    run_window = _day(2).run_window._replace(partition_date=_day(1).run_window.partition_date)
    _land(fake, store, range(2, 3), file_format="csv", run_window=run_window)
    first = _manifest(store, 2)
    fake.add(record_at("2026-10-25T03:00:00Z", "late-1"))
    late = _pull_late(fake, store, 3 * DAY, replace=True, settle_delay=400 * DAY)
    assert late.summary().items() >= {"lookback_windows": 1, "late_count": 1}.items()
    second = _manifest(store, 2)
    assert second.parts[: len(first.parts)] == first.parts
    assert (second.file_format, second.partition_date) == ("csv", first.partition_date)


@pytest.mark.integration
def test_windows_with_other_filters_are_left_out(fake: FakeCloudflare, store: LocalStore) -> None:
    """A lookback leaves out windows with other filters, which a version before 1.0.0rc1 allowed in one destination."""
    _land(fake, store, range(1), filters={"actor_email": "nobody@example.com"})
    store.remove([DATASET_KEY])
    store.create(DATASET_KEY, _day(0).dataset.to_bytes())
    _land(fake, store, range(1, 3))
    assert len(_pull_late(fake, store, 3 * DAY).outcomes) == 2


@pytest.mark.integration
def test_windows_beyond_the_retention_are_left_out(store: LocalStore) -> None:
    """A lookback that extends beyond the retention reads only the windows that the API keeps completely."""
    fake = fake_with(ManualClock(), records_per_day=50)
    _land(fake, store)
    # Exactly 18 months less three days after the start of the second day.
    clock = ManualClock(datetime(2028, 4, 21, tzinfo=UTC))
    aged = fake_with(clock, records_per_day=50)
    late = pull_late_records(_day(LAST), 30 * DAY, reader_of(aged, clock), store, NullObserver())
    assert [outcome.manifest.window.start for outcome in late.outcomes] == [FIRST + DAY, FIRST + 2 * DAY]
    clock = ManualClock(datetime(2028, 6, 1, tzinfo=UTC))
    assert pull_late_records(_day(LAST), 30 * DAY, reader_of(aged, clock), store, NullObserver()).outcomes == ()


@pytest.mark.integration
def test_records_missing_at_the_source_stay_committed(fake: FakeCloudflare, store: LocalStore) -> None:
    """An API that returns fewer records than are committed adds and removes nothing."""
    _land(fake, store)
    before = objects(store)
    empty = fake_with(ManualClock(), records_per_day=0)
    assert _pull_late(empty, store, 3 * DAY).late_count == 0
    assert objects(store) == before


@pytest.mark.integration
def test_damaged_part_stops_the_lookback(fake: FakeCloudflare, store: LocalStore, tmp_path: Path) -> None:
    """A damaged part is an error; older windows keep the late records added before it."""
    _land(fake, store)
    fake.add(record_at("2026-10-23T03:00:00Z", "late-1"))
    (tmp_path / "destination" / _manifest(store, 1).parts[0].key).write_bytes(b"")
    with pytest.raises(VerificationError, match="differs from its manifest"):
        _pull_late(fake, store, 3 * DAY)
    assert _manifest(store, 0).added_ids == ("late-1",)


@pytest.mark.parametrize("lookback", [timedelta(seconds=-1), 3600, "a week"])
def test_invalid_lookback_fails(fake: FakeCloudflare, store: LocalStore, lookback: Any) -> None:
    """A negative lookback, or one that is not a timedelta, is an error before the first request."""
    with pytest.raises(ConfigurationError, match="lookback"):
        _pull_late(fake, store, lookback)
    assert fake.requests == []
