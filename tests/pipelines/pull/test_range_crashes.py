"""A range that is killed at any operation or request: whole windows are committed or none, and the next run goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.verification.findings import FindingKind, severe
from airflow_audit_provider.exceptions import StorageUnavailableError
from airflow_audit_provider.pipelines.sweep import sweep
from airflow_audit_provider.pipelines.verify import verify
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.in_process import DirectTransport
from tests.pipelines.pull.crashing_store import CrashingStore, CrashingTransport, CrashPoint, KilledError
from tests.pipelines.pull.landing import fake_with, objects, reader_of, staged_keys
from tests.pipelines.pull.many_windows import check_same_dataset, land_each, land_range, manifests, range_spec

pytestmark = pytest.mark.integration
DAYS = 2


@pytest.fixture(scope="module")
def fake() -> FakeCloudflare:
    """A fake whose days share pages; large records make two parts of each."""
    large = "huge_records=100000,every=400"
    return fake_with(ManualClock(), large, records_per_day=1050, requests_per_window=None)


@pytest.fixture(scope="module")
def expected(fake: FakeCloudflare, tmp_path_factory: pytest.TempPathFactory) -> LocalStore:
    """What a pull for each window lands."""
    store = LocalStore(str(tmp_path_factory.mktemp("alone")))
    land_each(range_spec(days=DAYS, concurrency=1), fake, store)
    return store


@pytest.fixture
def fresh(tmp_path: Path) -> Callable[[], LocalStore]:
    """Returns a new destination at every call."""
    folders: Iterator[Path] = (tmp_path / str(number) for number in range(10_000))
    return lambda: LocalStore(str(next(folders)))


def _land(fake: FakeCloudflare, store: Store, attempt_id: str = "one", transport: CrashPoint | None = None) -> None:
    clock = ManualClock()
    inner = DirectTransport(fake, clock)
    reader = reader_of(fake, clock, inner if transport is None else CrashingTransport(inner, transport))
    land_range(range_spec(days=DAYS, concurrency=1, attempt_id=attempt_id), reader, store)


def _operation_count(fake: FakeCloudflare, store: LocalStore) -> int:
    crash = CrashPoint()
    _land(fake, CrashingStore(store, crash))
    return len(crash.operations)


def _check_whole_windows(store: LocalStore, where: str) -> None:
    """Asserts that what is committed is a beginning of the range, without damage."""
    committed = [manifest.window.start for manifest in manifests(store)]
    windows = [each.window.start for each in range_spec(days=DAYS).windows]
    assert committed == windows[: len(committed)], where
    found = severe(verify(store).findings) if committed else []
    # A kill between publishing and the manifest leaves parts that no manifest names, as of a single window.
    assert not [one for one in found if one.kind is not FindingKind.OBJECT_UNEXPECTED], where


@pytest.mark.parametrize("after_effect", [False, True], ids=["before it", "after it"])
def test_kill_at_any_storage_operation_is_repaired_by_the_next_run(
    fake: FakeCloudflare, expected: LocalStore, fresh: Callable[[], LocalStore], after_effect: bool
) -> None:
    """The committed windows are the first ones, whole; the next run leaves what an undisturbed one does."""
    for number in range(1, _operation_count(fake, fresh()) + 1):
        store, crash = fresh(), CrashPoint(number, after_effect=after_effect)
        with pytest.raises(KilledError):
            _land(fake, CrashingStore(store, crash))
        _check_whole_windows(store, crash.operations[-1])
        _land(fake, store, "two")
        _check_parts_and_counts(store, expected, crash.operations[-1])
        # Also of a window that was committed just before the kill, and is not read again.
        assert not [key for key in staged_keys(store) if "/checkpoint-" in key], crash.operations[-1]


@pytest.mark.nightly
@pytest.mark.parametrize("after_effect", [False, True], ids=["before it", "after it"])
def test_store_failure_at_any_operation_loses_nothing(
    fake: FakeCloudflare, expected: LocalStore, fresh: Callable[[], LocalStore], after_effect: bool
) -> None:
    """The task fails or goes on; the next run completes the range, and a sweep leaves nothing in staging."""
    for number in range(1, _operation_count(fake, fresh()) + 1):
        store, crash = fresh(), CrashPoint(number, after_effect=after_effect, is_kill=False)
        with suppress(StorageUnavailableError):
            _land(fake, CrashingStore(store, crash))
        _check_whole_windows(store, crash.operations[number - 1])
        _land(fake, store, "two")
        _check_parts_and_counts(store, expected, crash.operations[number - 1])
        sweep(store, datetime.now(UTC) + timedelta(days=2))
        assert not staged_keys(store)


@pytest.mark.parametrize("after_effect", [False, True], ids=["before it", "after it"])
def test_kill_at_any_request_is_repaired_without_asking_for_committed_windows(
    fake: FakeCloudflare, expected: LocalStore, fresh: Callable[[], LocalStore], after_effect: bool
) -> None:
    """The next run requests nothing from before the first window that is not committed, except for proofs."""
    crash = CrashPoint()
    _land(fake, fresh(), transport=crash)
    for number in range(1, len(crash.operations) + 1):
        store = fresh()
        with pytest.raises(KilledError):
            _land(fake, store, transport=CrashPoint(number, after_effect=after_effect))
        _check_whole_windows(store, f"request {number}")
        request_count, done = len(fake.requests), len(manifests(store))
        _land(fake, store, "two")
        _check_parts_and_counts(store, expected, f"request {number}")
        first = range_spec(days=DAYS).windows[min(done, DAYS - 1)].window.start
        asked = [dict(each.params) for each in fake.requests[request_count:]]
        upwards = [datetime.fromisoformat(each["since"]) for each in asked if each["direction"] == "asc"]
        assert min(upwards, default=first) >= first - timedelta(seconds=1)


def _check_parts_and_counts(store: LocalStore, expected: LocalStore, where: str) -> None:
    parts = [
        {key: content for key, content in objects(one).items() if key.startswith("dt=")} for one in (store, expected)
    ]
    assert parts[0] == parts[1], where
    check_same_dataset(store, expected)
