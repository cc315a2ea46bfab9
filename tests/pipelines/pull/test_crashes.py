"""Whatever dies, and when: no manifest without its parts, and the next run ends with the undisturbed bytes."""

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
from tests.pipelines.pull.landing import (
    fake_with,
    keys_of,
    land,
    landed,
    landed_ids,
    objects,
    order,
    record_at,
    records_of,
    source_of,
    staged_keys,
    true_ids,
)
from tests.pipelines.pull.mortal_store import Death, KilledError, MortalStore, MortalTransport

pytestmark = pytest.mark.integration

SCENARIOS = ("first run", "late records", "replace")


class Scene(NamedTuple):
    """A destination as it lies before the run, the run's order, and what an undisturbed run leaves."""

    fake: FakeCloudflare
    before: Path
    wanted: PullSpec
    expected: dict[str, bytes]
    operation_count: int
    request_count: int

    def land(self, store: LocalStore, death: Death | None = None, *, in_transport: bool = False) -> None:
        """Run with somebody dying in the store, or on the way to the API."""
        clock = ManualClock()
        transport = DirectTransport(self.fake, clock)
        if death is None:
            land(self.wanted._replace(attempt_id="two"), source_of(self.fake, clock, transport), store)
        elif in_transport:
            land(self.wanted, source_of(self.fake, clock, MortalTransport(transport, death)), store)
        else:
            land(self.wanted, source_of(self.fake, clock, transport), MortalStore(store, death))


def _parts(store: LocalStore) -> dict[str, bytes]:
    return {key: content for key, content in objects(store).items() if key.startswith("dt=")}


@pytest.fixture(scope="module", params=SCENARIOS)
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    # Two parts from few records: the first thousand passes the least part size by two large ones.
    large = "huge_records=100000,every=400"
    fake = fake_with(ManualClock(), large, records_per_day=1050, requests_per_window=None)
    before = tmp_path_factory.mktemp("before")
    wanted = order(concurrency=1, replace=request.param == "replace")
    if request.param != "first run":
        land(order(), source_of(fake, ManualClock()), LocalStore(str(before)))
        for number in range(3):
            fake.add(record_at(f"2026-10-26T0{number}:30:00Z", f"late-{number}"))
    scene = Scene(fake, before, wanted, {}, 0, 0)
    store, death, requests = _copied(scene, tmp_path_factory.mktemp("undisturbed")), Death(), len(fake.requests)
    scene.land(store, death)
    return scene._replace(
        expected=_parts(store), operation_count=len(death.operations), request_count=len(fake.requests) - requests
    )


def _copied(scene: Scene, folder: Path) -> LocalStore:
    shutil.copytree(scene.before, folder, dirs_exist_ok=True)
    return LocalStore(str(folder))


@pytest.fixture
def fresh(scene: Scene, tmp_path: Path) -> Callable[[], LocalStore]:
    """Give a new copy of the scene's destination at every call."""
    folders: Iterator[Path] = (tmp_path / str(number) for number in range(10_000))
    return lambda: _copied(scene, next(folders))


def _refuse_halves(scene: Scene, store: LocalStore, where: str) -> None:
    """The newest manifest, if there is one, names only parts that are whole."""
    commit = latest_committed(store, keys_of(scene.wanted))
    if commit is not None:
        ids = [record.id for record in records_of(commit.manifest, scene.wanted, store)]
        assert len(ids) == commit.manifest.record_count == len(set(ids)), where


def _refuse_difference(scene: Scene, store: LocalStore, where: str) -> None:
    """After the next run the destination holds what an undisturbed run leaves."""
    assert landed_ids(scene.wanted, store) == true_ids(scene.fake), where
    if not scene.wanted.replace:
        assert _parts(store) == scene.expected, where


@pytest.mark.parametrize("late", [False, True], ids=["before it", "after it"])
def test_a_worker_killed_at_any_storage_operation(scene: Scene, fresh: Callable[[], LocalStore], late: bool) -> None:
    """A worker killed around any operation of the store leaves a whole commit or none, and the next run mends it."""
    for number in range(1, scene.operation_count + 1):
        store, death = fresh(), Death(number, late=late)
        with pytest.raises(KilledError):
            scene.land(store, death)
        where = death.operations[-1]
        _refuse_halves(scene, store, where)
        scene.land(store)
        _refuse_difference(scene, store, where)


@pytest.mark.parametrize("late", [False, True], ids=["before it", "after it"])
def test_a_store_that_fails_once_at_any_operation(scene: Scene, fresh: Callable[[], LocalStore], late: bool) -> None:
    """A store that fails once, anywhere, or times out after all it is asked is done, loses and doubles nothing."""
    for number in range(1, scene.operation_count + 1):
        store, death = fresh(), Death(number, late=late, for_good=False)
        with suppress(StorageUnavailableError):
            scene.land(store, death)
        where = death.operations[number - 1]
        _refuse_halves(scene, store, where)
        has_checkpoint = any("/checkpoint-" in key for key in staged_keys(store))
        scene.land(store)
        _refuse_difference(scene, store, where)
        if has_checkpoint or not where.startswith(("remove", "discard", "list _staging")):
            # An object that was opened and never handed over is nobody's to close.
            assert (late and where.startswith("stage")) or not staged_keys(store), where
        sweep(store, datetime.now(UTC) + timedelta(days=2))
        assert not staged_keys(store), where


@pytest.mark.parametrize("late", [False, True], ids=["before it", "after it"])
def test_a_worker_killed_at_any_request(scene: Scene, fresh: Callable[[], LocalStore], late: bool) -> None:
    """A worker killed around any request leaves no new commit, and the next run lands everything."""
    for number in range(1, scene.request_count + 1):
        store, before = fresh(), latest_committed(LocalStore(str(scene.before)), keys_of(scene.wanted))
        with pytest.raises(KilledError):
            scene.land(store, Death(number, late=late), in_transport=True)
        assert latest_committed(store, keys_of(scene.wanted)) == before
        scene.land(store)
        _refuse_difference(scene, store, f"request {number}")


def test_the_manifest_is_written_last(scene: Scene, fresh: Callable[[], LocalStore]) -> None:
    """Every part is published before the manifest is created, and after it only leftovers are removed."""
    death = Death()
    scene.land(fresh(), death)
    created = [number for number, name in enumerate(death.operations) if name.startswith("create _manifests/")]
    published = [number for number, name in enumerate(death.operations) if name.startswith("publish dt=")]
    assert len(created) == 1
    assert published
    assert max(published) < created[0]
    assert all(name.startswith(("remove ", "list ", "read ")) for name in death.operations[created[0] + 1 :])
    first_read = next(number for number, name in enumerate(death.operations) if name.startswith("create _staging/"))
    assert first_read < min(published)


def test_parts_follow_each_other_in_order(scene: Scene, fresh: Callable[[], LocalStore]) -> None:
    """A run that writes everything writes several parts whose records run on by event time and id."""
    store = fresh()
    scene.land(store)
    records = landed(scene.wanted, store)[: len(true_ids(scene.fake)) - (0 if scene.wanted.replace else 3)]
    assert sum(key.endswith(".jsonl") for key in _parts(store)) >= 2
    assert records == sorted(records)
