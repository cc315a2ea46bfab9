"""The commit log has an entry of each attempt before its part and its manifest, wherever the attempt is killed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.core.archive.object_keys import LogEntry, read_log_key
from airflow_audit_provider.core.ports import Request, Response
from airflow_audit_provider.exceptions import SourceUnavailableError
from airflow_audit_provider.pipelines import part_writer
from airflow_audit_provider.pipelines.committed import latest_committed
from airflow_audit_provider.pipelines.pull_spec import PullSpec
from airflow_audit_provider.pipelines.verify import verify
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.in_process import DirectTransport
from tests.pipelines.pull.confirming_store import ConfirmingStore
from tests.pipelines.pull.crashing_store import CrashingStore, CrashPoint, KilledError
from tests.pipelines.pull.landing import (
    fake_with,
    keys_of,
    land,
    landed_ids,
    logged_keys,
    objects,
    pull_spec,
    reader_of,
    record_at,
    true_ids,
)
from tests.pipelines.pull.resuming import kill, resumable_spec, small_fake

pytestmark = pytest.mark.integration
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


def _entries(store: LocalStore) -> list[LogEntry]:
    found = [read_log_key(key) for key in logged_keys(store)]
    return [entry for entry in found if entry is not None]


def _run(fake: FakeCloudflare, store: LocalStore | CrashingStore, spec: PullSpec) -> None:
    land(spec, reader_of(fake, ManualClock()), store)


def _late(fake: FakeCloudflare, store: LocalStore) -> PullSpec:
    _run(fake, store, pull_spec())
    fake.add(record_at("2026-10-26T03:00:00Z", "late"))
    return pull_spec(attempt_id="two")


def _replacing(fake: FakeCloudflare, store: LocalStore) -> PullSpec:
    _run(fake, store, pull_spec())
    return pull_spec(attempt_id="two", replace=True)


def _resumed(fake: FakeCloudflare, store: LocalStore) -> PullSpec:
    kill(fake, resumable_spec(), store)
    return resumable_spec(attempt_id="two")


def _resumed_late(fake: FakeCloudflare, store: LocalStore) -> PullSpec:
    """A run of late records is killed once its checkpoint is complete, so that the next one finds no new record."""
    _run(fake, store, pull_spec())
    for number in range(2500):
        fake.add(record_at(f"2026-10-26T{number % 24:02}:30:00Z", f"late-{number}"))
    crash = CrashPoint()
    counted = LocalStore(str(store._root) + "-counted")
    for key, content in objects(store).items():
        counted.create(key, content)
    _run(fake, CrashingStore(counted, crash), resumable_spec(attempt_id="one"))
    at = next(number for number, name in enumerate(crash.operations, 1) if name.startswith("publish dt="))
    with pytest.raises(KilledError):
        _run(fake, CrashingStore(store, CrashPoint(at)), resumable_spec(attempt_id="one"))
    return resumable_spec(attempt_id="two")


_KINDS: dict[str, Callable[[FakeCloudflare, LocalStore], PullSpec]] = {
    "first": lambda _fake, _store: pull_spec(attempt_id="two"),
    "empty": lambda _fake, _store: pull_spec(attempt_id="two", filters={"action_type": "none"}),
    "late": _late,
    "replacing": _replacing,
    "erasing": lambda fake, store: _replacing(fake, store)._replace(erase_reason="a request"),
    "resumed": _resumed,
    "resumed late": _resumed_late,
}


@pytest.mark.parametrize("kind", _KINDS)
def test_entry_is_written_before_part_and_manifest(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever an attempt commits, its own entry with the generation precedes the first part and the manifest."""
    small_parts = {"resumed": 2000, "resumed late": 1000}
    monkeypatch.setattr(part_writer, "PART_RECORDS", small_parts.get(kind, part_writer.PART_RECORDS))
    fake, store, crash = small_fake(), LocalStore(str(tmp_path / "store")), CrashPoint()
    spec = _KINDS[kind](fake, store)
    _run(fake, CrashingStore(store, crash), spec)
    first = {
        start: next((number for number, name in enumerate(crash.operations) if name.startswith(start)), 10**6)
        for start in ("create _commit_log/", "put dt=", "publish dt=", "create _manifests/")
    }
    committed = latest_committed(store, keys_of(spec))
    assert committed is not None
    assert first["create _commit_log/"] < min(first["put dt="], first["publish dt="], first["create _manifests/"])
    assert first["create _manifests/"] < 10**6
    written = [entry for entry in _entries(store) if entry.attempt_id == "two"]
    assert [(entry.window, entry.generation) for entry in written] == [
        (committed.manifest.window, committed.manifest.generation)
    ]


def test_run_without_new_records_writes_no_entry(tmp_path: Path) -> None:
    """A second run changes nothing, not even the log."""
    fake, store = fake_with(ManualClock()), LocalStore(str(tmp_path))
    _run(fake, store, pull_spec())
    before = objects(store)
    _run(fake, store, pull_spec(attempt_id="two"))
    assert objects(store) == before


class _SlowTransport(DirectTransport):
    """The worker's clock advances by so much during each request, and a request may fail."""

    def __init__(self, fake: FakeCloudflare, clock: ManualClock, pause: timedelta, *, fails: bool = False) -> None:
        super().__init__(fake, clock)
        self._worker = clock
        self._pause = pause
        self._fails = fails

    def send(self, request: Request) -> Response:
        """Sends the request after the pause."""
        self._worker.advance(self._pause.total_seconds())
        if self._fails:
            raise SourceUnavailableError("The API does not answer. Run again.")
        return super().send(request)


def _run_slowly(fake: FakeCloudflare, store: LocalStore, pause: timedelta, **how: Any) -> None:
    clock = ManualClock()
    land(pull_spec(concurrency=1), reader_of(fake, clock, _SlowTransport(fake, clock, pause, **how)), store)


@pytest.mark.parametrize(("pause", "entry_count"), [(1 * HOUR, 1), (25 * HOUR, 2)])
def test_attempt_that_takes_more_than_a_day_writes_a_second_entry(
    pause: timedelta, entry_count: int, tmp_path: Path
) -> None:
    """A loader looks at the last days of the log only, so the entry of a commit is never much older than it."""
    fake, store, began_at = fake_with(ManualClock()), LocalStore(str(tmp_path)), ManualClock().now()
    _run_slowly(fake, store, pause)
    entries = _entries(store)
    assert len(entries) == entry_count
    assert (entries[-1].at - began_at > 24 * HOUR) is (entry_count == 2)


def test_attempt_that_fails_before_its_commit_withdraws_its_entry(tmp_path: Path) -> None:
    """An attempt that has published nothing leaves no entry that a loader would have to look at."""
    store = LocalStore(str(tmp_path))
    with pytest.raises(SourceUnavailableError):
        _run_slowly(fake_with(ManualClock()), store, 0 * HOUR, fails=True)
    assert objects(store) == {}


class _LosingStore(ConfirmingStore):
    """A store like S3 whose parts are removed while the manifest is created."""

    def create(self, key: str, content: bytes) -> bool:
        """Removes all parts, then creates the manifest."""
        if key.startswith("_manifests/"):
            self.remove([key for key in self.list_keys("") if key.startswith("dt=")])
        return super().create(key, content)


@pytest.mark.parametrize(("pause", "is_repaired"), [(0 * MINUTE, False), (40 * MINUTE, True)])
def test_attempt_that_took_long_looks_for_its_parts(pause: timedelta, is_repaired: bool, tmp_path: Path) -> None:
    """After half an hour, a sweep may not wait for the attempt any more; before that, only verify would find a loss."""
    fake = fake_with(ManualClock())
    _run_slowly(fake, _LosingStore(str(tmp_path)), pause)
    kinds = {str(found.kind) for found in verify(LocalStore(str(tmp_path))).findings if found.severity == "severe"}
    assert kinds == (set() if is_repaired else {"part_missing"})


@pytest.mark.parametrize("after_effect", [False, True], ids=["before it", "after it"])
def test_kill_at_any_operation_of_a_store_that_confirms_digests(after_effect: bool, tmp_path: Path) -> None:
    """A window of one part is complete or not there, has an entry if anything of it is visible, and is repaired."""
    fake, crash = fake_with(ManualClock(), records_per_day=20), CrashPoint()
    _run(fake, CrashingStore(ConfirmingStore(str(tmp_path / "whole")), crash), pull_spec())
    parts = {key for key in objects(LocalStore(str(tmp_path / "whole"))) if key.startswith("dt=")}
    for number in range(1, len(crash.operations) + 1):
        store = ConfirmingStore(str(tmp_path / str(number)))
        with pytest.raises(KilledError):
            _run(fake, CrashingStore(store, CrashPoint(number, after_effect=after_effect)), pull_spec())
        assert logged_keys(store) or not set(objects(store)) - {"_dataset.json"}
        _run(fake, store, pull_spec(attempt_id="two"))
        assert landed_ids(pull_spec(), store) == true_ids(fake)
        assert {key for key in objects(store) if key.startswith("dt=")} == parts
        assert verify(store).severe_count == 0
