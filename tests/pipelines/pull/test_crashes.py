"""Crashes at every operation: no manifest without its parts, and the next run leaves the same bytes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.exceptions import StorageUnavailableError
from airflow_audit_provider.pipelines.committed import latest_committed
from airflow_audit_provider.pipelines.pull_spec import PullSpec
from airflow_audit_provider.pipelines.sweep import sweep
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.in_process import DirectTransport
from tests.hypothesis_profiles import places
from tests.pipelines.pull.crashing_store import CrashingStore, CrashingTransport, CrashPoint, KilledError
from tests.pipelines.pull.landing import (
    IN_LAKE,
    fake_with,
    keys_of,
    land,
    landed,
    landed_ids,
    objects,
    pull_spec,
    reader_of,
    record_at,
    records_of,
    staged_keys,
    true_ids,
)

pytestmark = pytest.mark.integration

SCENARIOS = (
    *("first run", "late records", "replace", "first run in Security Lake"),
    pytest.param("late records in Security Lake", marks=pytest.mark.nightly),
    pytest.param("replace in Security Lake", marks=pytest.mark.nightly),
)
PUBLICATIONS = ("publish dt=", "put dt=", "publish ext/", "put ext/")


class Scene(NamedTuple):
    """A destination before a run, the run's spec, and the parts that an undisturbed run leaves."""

    fake: FakeCloudflare
    before: Path
    spec: PullSpec
    expected: dict[str, bytes]
    operation_count: int
    request_count: int

    def land(self, store: LocalStore, crash: CrashPoint | None = None, *, in_transport: bool = False) -> None:
        """Runs the spec, with a crash point in the store or in the transport."""
        clock = ManualClock()
        transport = DirectTransport(self.fake, clock)
        if crash is None:
            land(self.spec._replace(attempt_id="two"), reader_of(self.fake, clock, transport), store)
        elif in_transport:
            land(self.spec, reader_of(self.fake, clock, CrashingTransport(transport, crash)), store)
        else:
            land(self.spec, reader_of(self.fake, clock, transport), CrashingStore(store, crash))


def _parts(store: LocalStore) -> dict[str, bytes]:
    return {key: content for key, content in objects(store).items() if key.startswith(("dt=", "ext/"))}


@pytest.fixture(scope="module", params=SCENARIOS)
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    # Two large records in the first thousand exceed the minimum part size, so that few records make two parts.
    """The first run of a window, a run that adds late records, or a replacement."""
    large = "huge_records=100000,every=400"
    fake = fake_with(ManualClock(), large, records_per_day=1050, requests_per_window=None)
    before = tmp_path_factory.mktemp("before")
    form = IN_LAKE if "Lake" in request.param else {}
    spec = pull_spec(concurrency=1, replace=request.param.startswith("replace"), **form)
    if not request.param.startswith("first run"):
        land(pull_spec(**form), reader_of(fake, ManualClock()), LocalStore(str(before)))
        for number in range(3):
            fake.add(record_at(f"2026-10-26T0{number}:30:00Z", f"late-{number}"))
    scene = Scene(fake, before, spec, {}, 0, 0)
    store, crash, requests = _copied(scene, tmp_path_factory.mktemp("undisturbed")), CrashPoint(), len(fake.requests)
    scene.land(store, crash)
    return scene._replace(
        expected=_parts(store), operation_count=len(crash.operations), request_count=len(fake.requests) - requests
    )


def _copied(scene: Scene, folder: Path) -> LocalStore:
    shutil.copytree(scene.before, folder, dirs_exist_ok=True)
    return LocalStore(str(folder))


@pytest.fixture
def fresh(scene: Scene, tmp_path: Path) -> Callable[[], LocalStore]:
    """Returns a new copy of the scene's destination at every call."""
    folders: Iterator[Path] = (tmp_path / str(number) for number in range(10_000))
    return lambda: _copied(scene, next(folders))


def _check_parts_complete(scene: Scene, store: LocalStore, where: str) -> None:
    """Asserts that the newest manifest, if any, names only complete parts."""
    commit = latest_committed(store, keys_of(scene.spec))
    if commit is not None:
        ids = [record.id for record in records_of(commit.manifest, scene.spec, store)]
        assert len(ids) == commit.manifest.record_count == len(set(ids)), where


def _check_same_as_undisturbed(scene: Scene, store: LocalStore, where: str) -> None:
    """Asserts that the destination has the records, and the parts, of an undisturbed run."""
    assert landed_ids(scene.spec, store) == true_ids(scene.fake), where
    if scene.spec.lake:
        # Readers of the lake read every object, so there is none that the manifest does not name.
        commit = latest_committed(store, keys_of(scene.spec))
        assert commit is not None, where
        assert set(_parts(store)) == {part.key for part in commit.manifest.parts}, where
    if not scene.spec.replace:
        assert _parts(store) == scene.expected, where


def _operations(scene: Scene, after_effect: bool) -> range:
    """Returns the numbers of the operations to fail at: all, but by day every third in Security Lake.

    A window has several parts there, and the tests of all its operations take a minute.
    """
    step = 1 if scene.spec.lake is None else 3
    tried = places(scene.operation_count, step, first=int(after_effect) % step)
    return range(tried.start + 1, tried.stop + 1, tried.step)


@pytest.mark.parametrize("after_effect", [False, True], ids=["before it", "after it"])
def test_kill_at_any_storage_operation_is_repaired_by_the_next_run(
    scene: Scene, fresh: Callable[[], LocalStore], after_effect: bool
) -> None:
    """A worker killed at any operation of the store leaves a complete commit or none; the next run completes it."""
    for number in _operations(scene, after_effect):
        store, crash = fresh(), CrashPoint(number, after_effect=after_effect)
        with pytest.raises(KilledError):
            scene.land(store, crash)
        where = crash.operations[-1]
        _check_parts_complete(scene, store, where)
        scene.land(store)
        _check_same_as_undisturbed(scene, store, where)


@pytest.mark.parametrize("after_effect", [False, True], ids=["before it", "after it"])
def test_store_failure_at_any_operation_loses_nothing(
    scene: Scene, fresh: Callable[[], LocalStore], after_effect: bool
) -> None:
    """A store that fails once, before or after any operation, loses and duplicates nothing."""
    for number in _operations(scene, after_effect):
        store, crash = fresh(), CrashPoint(number, after_effect=after_effect, is_kill=False)
        with suppress(StorageUnavailableError):
            scene.land(store, crash)
        where = crash.operations[number - 1]
        _check_parts_complete(scene, store, where)
        has_checkpoint = any("/checkpoint-" in key for key in staged_keys(store))
        scene.land(store)
        _check_same_as_undisturbed(scene, store, where)
        if has_checkpoint or not where.startswith(("remove", "discard", "list _staging")):
            # An object opened by the failed operation was not returned, so the attempt cannot discard it.
            assert (after_effect and where.startswith("stage")) or not staged_keys(store), where
        sweep(store, datetime.now(UTC) + timedelta(days=2))
        assert not staged_keys(store), where


@pytest.mark.parametrize("after_effect", [False, True], ids=["before it", "after it"])
def test_kill_at_any_request_commits_nothing(scene: Scene, fresh: Callable[[], LocalStore], after_effect: bool) -> None:
    """A worker killed at any request commits nothing, and the next run lands everything."""
    for number in range(1, scene.request_count + 1):
        store, before = fresh(), latest_committed(LocalStore(str(scene.before)), keys_of(scene.spec))
        with pytest.raises(KilledError):
            scene.land(store, CrashPoint(number, after_effect=after_effect), in_transport=True)
        assert latest_committed(store, keys_of(scene.spec)) == before
        scene.land(store)
        _check_same_as_undisturbed(scene, store, f"request {number}")


def test_manifest_is_written_last(scene: Scene, fresh: Callable[[], LocalStore]) -> None:
    """Every part is published before the manifest is created; after it only leftovers are removed."""
    crash = CrashPoint()
    scene.land(fresh(), crash)
    created = [number for number, name in enumerate(crash.operations) if name.startswith("create _manifests/")]
    published = [number for number, name in enumerate(crash.operations) if name.startswith(PUBLICATIONS)]
    assert len(created) == 1
    assert published
    assert max(published) < created[0]
    assert all(name.startswith(("remove ", "list ", "read ")) for name in crash.operations[created[0] + 1 :])
    proof = ("create _commit_log/", "create _dataset.json")
    proved = next(number for number, name in enumerate(crash.operations) if name.startswith(proof))
    assert proved < min(published)


def test_parts_are_consecutive(scene: Scene, fresh: Callable[[], LocalStore]) -> None:
    """The records of consecutive parts are sorted by event time and id, in Security Lake those of one class."""
    store = fresh()
    scene.land(store)
    records = landed(scene.spec, store)[: len(true_ids(scene.fake)) - (0 if scene.spec.replace else 3)]
    assert len(_parts(store)) >= 2
    if scene.spec.lake is None:
        assert records == sorted(records)
