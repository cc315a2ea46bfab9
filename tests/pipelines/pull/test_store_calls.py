"""A pull makes few calls to S3, and few that wait for each other: upper bounds, counted at the client."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from airflow_audit_provider.exceptions import CommitConflictError
from airflow_audit_provider.pipelines import part_writer
from airflow_audit_provider.pipelines.late_records import pull_late_records
from airflow_audit_provider.pipelines.observer import NullObserver, PullOutcome
from airflow_audit_provider.pipelines.pull_spec import PullSpec
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from tests.adapters.storage.real_stores import Servers
from tests.pipelines.pull.counted_calls import Bucket, CountedCalls
from tests.pipelines.pull.landing import START, fake_with, land, pull_spec, reader_of, record_at

pytestmark = pytest.mark.integration
DAY = timedelta(days=1)


@pytest.fixture
def bucket(servers: Servers) -> Bucket:
    """An empty destination."""
    return Bucket(servers("s3-moto"))


@pytest.fixture
def fake() -> FakeCloudflare:
    """A fake of 2,000 records a day."""
    return fake_with(ManualClock(), records_per_day=2000)


def _day(number: int, attempt_id: str = "one", **changes: Any) -> PullSpec:
    start = START + number * DAY
    return pull_spec(start=start, end=start + DAY, attempt_id=attempt_id, compression="gzip", **changes)


def _land(fake: FakeCloudflare, spec: PullSpec, bucket: Bucket) -> PullOutcome:
    return land(spec, reader_of(fake, ManualClock()), bucket.store)


def _check(calls: CountedCalls, most_calls: int, most_depth: int) -> None:
    assert len(calls.calls) <= most_calls, str(calls)
    assert calls.depth <= most_depth, str(calls)


def test_first_pull_of_a_window(bucket: Bucket, fake: FakeCloudflare) -> None:
    """A window that is not committed yet takes eight calls in a destination that has another one."""
    _land(fake, _day(-1), bucket)
    _check(bucket.calls_of(lambda: _land(fake, _day(0), bucket)), most_calls=8, most_depth=5)


def test_first_pull_of_a_destination(bucket: Bucket, fake: FakeCloudflare) -> None:
    """The very first window has no descriptor to prove with: three calls more, and two for a server that is no AWS."""
    _check(bucket.calls_of(lambda: _land(fake, _day(0), bucket)), most_calls=13, most_depth=9)


@pytest.mark.parametrize("changes", [{"file_format": "csv"}, {"filters": {"action_type": "login"}}])
def test_other_dataset_is_refused_before_the_first_request(
    bucket: Bucket, fake: FakeCloudflare, changes: dict[str, Any]
) -> None:
    """A descriptor whose digest is not the expected one is read, and what differs is named."""
    _land(fake, _day(-1), bucket)
    request_count = len(fake.requests)
    with pytest.raises(CommitConflictError, match="another dataset"):
        _land(fake, _day(0, **changes), bucket)
    assert len(fake.requests) == request_count


def test_second_run_without_new_records(bucket: Bucket, fake: FakeCloudflare) -> None:
    """A second run reads the manifest and the part, and writes nothing."""
    _land(fake, _day(0), bucket)
    calls = bucket.calls_of(lambda: _land(fake, _day(0, "two"), bucket))
    _check(calls, most_calls=4, most_depth=3)
    assert {call.operation for call in calls.calls} == {"ListObjectsV2", "GetObject"}


def test_late_record(bucket: Bucket, fake: FakeCloudflare) -> None:
    """A late record takes the calls of a second run, and five more to write it."""
    _land(fake, _day(0), bucket)
    fake.add(record_at("2026-10-26T12:00:00Z", "late"))
    _check(bucket.calls_of(lambda: _land(fake, _day(0, "two"), bucket)), most_calls=9, most_depth=7)


def _look_back(fake: FakeCloudflare, bucket: Bucket, days: int) -> None:
    _land(fake, _day(0), bucket)
    pull_late_records(_day(0), days * DAY, reader_of(fake, ManualClock()), bucket.store, NullObserver())


def test_lookback_without_late_records(bucket: Bucket) -> None:
    """A lookback reads two objects of each window, after two listings for all of them."""
    fake, days = fake_with(ManualClock(), records_per_day=200), 7
    for number in range(-days, 0):
        _land(fake, _day(number), bucket)
    # At a latency of 30 ms this depth waits for 0.42 s.
    _check(bucket.calls_of(lambda: _look_back(fake, bucket, days)), most_calls=8 + 2 + 2 * days, most_depth=7 + days)


def test_each_part_of_a_large_window_adds_three_calls(
    bucket: Bucket, fake: FakeCloudflare, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part is staged, listed in a checkpoint and published by one call each; staging is removed by one call."""
    _land(fake, _day(-1), bucket)
    monkeypatch.setattr(part_writer, "PART_RECORDS", 1000)
    two = len(bucket.calls_of(lambda: _land(fake, _day(0), bucket)).calls)
    larger = fake_with(ManualClock(), records_per_day=6000)
    six = len(bucket.calls_of(lambda: _land(larger, _day(1), bucket)).calls)
    assert six - two <= 3 * 4
    assert two <= 16


def test_calls_do_not_grow_with_the_history(bucket: Bucket) -> None:
    """A pull after 30 windows takes as many calls as after one."""
    fake = fake_with(ManualClock(), records_per_day=4)
    _land(fake, _day(-30), bucket)
    after_one = len(bucket.calls_of(lambda: _land(fake, _day(-29), bucket)).calls)
    for number in range(-28, -1):
        _land(fake, _day(number), bucket)
    assert len(bucket.calls_of(lambda: _land(fake, _day(-1), bucket)).calls) == after_one
