"""A run and a sweep at the same time: no committed part is lost or damaged, also if a response or a removal fails."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.core.ports import Transport
from airflow_audit_provider.exceptions import StorageUnavailableError
from airflow_audit_provider.pipelines import part_writer
from airflow_audit_provider.pipelines.sweep import sweep
from airflow_audit_provider.pipelines.verify import verify
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.in_process import DirectTransport
from tests.pipelines.pull.crashing_store import CrashingStore, CrashPoint, KilledError
from tests.pipelines.pull.landing import (
    END,
    fake_with,
    land,
    landed_ids,
    pull_spec,
    reader_of,
    true_ids,
    visible_keys,
)
from tests.pipelines.pull.meanwhile import Meanwhile
from tests.pipelines.pull.resuming import kill, resumable_spec, small_fake

pytestmark = pytest.mark.integration
DAY = timedelta(days=1)
LATER = ManualClock().now() + 2 * DAY


class _RacedStore(LocalStore):
    """The store of a sweep: other runs act before it reads a part, and before and after it removes one or anything."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.on_read: Callable[[], object] = bool
        self.before_any_removal: Callable[[], object] = bool
        self.before_removal: Callable[[], object] = bool
        self.after_removal: Callable[[], object] = bool

    def read(self, key: str) -> bytes | None:
        """Reads; another run acts before a part is read."""
        if key.startswith("dt="):
            self.on_read()
        return super().read(key)

    def remove(self, keys: Iterable[str]) -> None:
        """Removes; other runs act before and after a part is removed."""
        removed = list(keys)
        act, self.before_any_removal = self.before_any_removal, bool
        act()
        is_part = any(key.startswith("dt=") for key in removed)
        if is_part:
            self.before_removal()
        super().remove(removed)
        if is_part:
            self.after_removal()


class _SilentStore(LocalStore):
    """A store that loses all parts before a manifest is created, and also the response to that."""

    def create(self, key: str, content: bytes) -> bool:
        """Creates; of a manifest, the library retries after the lost response, and finds the manifest there."""
        if not key.startswith("_manifests/"):
            return super().create(key, content)
        self.remove([key for key in self.list_keys("") if key.startswith("dt=")])
        return super().create(key, content) and super().create(key, content)


def _land(
    fake: FakeCloudflare,
    store: LocalStore | CrashingStore,
    transport: Transport | None = None,
    now: datetime = LATER,
) -> None:
    clock = ManualClock(now)
    land(resumable_spec(attempt_id="two"), reader_of(fake, clock, transport or DirectTransport(fake, clock)), store)


def _with_orphan(tmp_path: Path, fake: FakeCloudflare) -> tuple[_RacedStore, str]:
    """Returns a destination in which a run of one part, killed two days ago, has left it, and the part's key."""
    store = _RacedStore(str(tmp_path / "store"))
    land(pull_spec(start=END, end=END + DAY), reader_of(fake, ManualClock()), store)
    before = set(visible_keys(store))
    counted, crash = LocalStore(str(tmp_path / "counted")), CrashPoint()
    land(pull_spec(start=END, end=END + DAY), reader_of(fake, ManualClock()), counted)
    _land(fake, CrashingStore(counted, crash))
    at = next(number for number, name in enumerate(crash.operations, 1) if name.startswith("create _manifests/"))
    with pytest.raises(KilledError):
        _land(fake, CrashingStore(store, CrashPoint(at)), now=LATER - 2 * DAY)
    (orphan,) = set(visible_keys(store)) - before
    return store, orphan


def _check_whole(store: LocalStore, fake: FakeCloudflare) -> None:
    assert landed_ids(pull_spec(), store) == true_ids(fake)
    assert verify(store).severe_count == 0


def test_run_with_a_lost_response_finds_that_its_part_is_gone(tmp_path: Path) -> None:
    """A run looks for its parts although a lost response makes it take its own manifest for another run's."""
    store, fake = _SilentStore(str(tmp_path)), fake_with(ManualClock())
    _land(fake, store)
    _check_whole(store, fake)


def test_sweep_does_not_put_a_damaged_part_back(tmp_path: Path) -> None:
    """A sweep that removed a damaged orphaned part does not write it over the one that a run has committed since."""
    fake = fake_with(ManualClock())
    store, orphan = _with_orphan(tmp_path, fake)
    store.put(orphan, b"damaged")
    store.after_removal = lambda: _land(fake, LocalStore(str(tmp_path / "store")))
    sweep(store, LATER)
    _check_whole(store, fake)


def test_sweep_puts_a_part_back_although_its_removal_fails(tmp_path: Path) -> None:
    """A sweep that loses the response to a removal puts the part back that a run has committed meanwhile."""
    fake = fake_with(ManualClock())
    store, _ = _with_orphan(tmp_path, fake)
    store.before_removal = lambda: _land(fake, LocalStore(str(tmp_path / "store")))

    def lose_the_response() -> None:
        raise StorageUnavailableError("The store does not answer. Run again.")

    store.after_removal = lose_the_response
    with pytest.raises(StorageUnavailableError):
        sweep(store, LATER)
    _check_whole(store, fake)


def test_sweep_does_not_remove_what_it_could_not_put_back(tmp_path: Path) -> None:
    """A sweep keeps off a part that another sweep has removed, and that a run may publish again at any time."""
    fake = fake_with(ManualClock())
    store, orphan = _with_orphan(tmp_path, fake)
    plain = LocalStore(str(tmp_path / "store"))
    # Is removed before the part, so that the run lands before the part would be removed.
    store.create("_staging/20261026T000000Z-20261027T000000Z/old/part-00000", b"x")

    def remove_and_land() -> None:
        store.on_read = bool
        plain.remove([orphan])
        store.before_any_removal = lambda: _land(fake, plain)

    store.on_read = remove_and_land
    sweep(store, LATER)
    _check_whole(store, fake)


def test_sweep_keeps_what_a_resumed_attempt_has_adopted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A sweep during a resumed attempt keeps the staged parts that it has adopted from an abandoned one."""
    monkeypatch.setattr(part_writer, "PART_RECORDS", 2000)
    store, fake = LocalStore(str(tmp_path)), small_fake()
    land(pull_spec(start=END, end=END + DAY), reader_of(fake, ManualClock()), store)
    kill(fake, resumable_spec(), store)
    _land(fake, store, Meanwhile(fake, lambda: sweep(store, LATER)))
    _check_whole(store, fake)


class _LateStore(LocalStore):
    """The store of a run that is killed when it has written its part, after another run has ended."""

    def __init__(self, root: str, other: Callable[[], object]) -> None:
        super().__init__(root)
        self._other = other

    def put(self, key: str, content: bytes) -> bool:
        """Lets the other run commit, then writes; the worker is killed."""
        self._other()
        super().put(key, content)
        raise KilledError


def test_part_of_a_killed_loser_is_reported_and_swept(tmp_path: Path) -> None:
    """The part that a run leaves if it is killed after it has lost the race is severe, and a sweep removes it."""
    fake, fewer = fake_with(ManualClock()), fake_with(ManualClock(), records_per_day=1000)
    store, root = LocalStore(str(tmp_path)), str(tmp_path)
    land(pull_spec(start=END, end=END + DAY), reader_of(fake, ManualClock()), store)
    with pytest.raises(KilledError):
        _land(fewer, _LateStore(root, lambda: _land(fake, store)))
    found = [one for one in verify(store).findings if one.severity == "severe"]
    assert [(str(one.kind), "then sweep" in one.detail) for one in found] == [("object_unexpected", True)]
    assert sweep(store, LATER).keys == (found[0].key,)
    _check_whole(store, fake)
