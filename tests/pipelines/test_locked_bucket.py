"""Pulls, seals, verification and sweeps in S3 buckets whose default retention locks every object."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import uuid4

import fsspec
import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import object_locks_of, store_from_filesystem
from airflow_audit_provider.cli.__main__ import main
from airflow_audit_provider.core.ports import ObjectLock, Store
from airflow_audit_provider.core.windows.window import count_of
from airflow_audit_provider.exceptions import StorageError
from airflow_audit_provider.pipelines.seal import seal
from airflow_audit_provider.pipelines.sweep import RetainedFile, SweepReport, sweep
from airflow_audit_provider.pipelines.verify import LockCheck, verify
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.in_process import DirectTransport
from tests.adapters.storage.real_stores import REGION, S3Server, Servers
from tests.pipelines.pull.crashing_store import CrashingStore, CrashPoint, KilledError
from tests.pipelines.pull.landing import (
    fake_with,
    land,
    landed_ids,
    logged_keys,
    objects,
    pull_spec,
    reader_of,
    record_at,
    staged_keys,
    true_ids,
    visible_keys,
)

pytestmark = pytest.mark.integration
DAYS = 30
SOON = timedelta(days=DAYS - 1)
MODES = pytest.mark.parametrize("mode", ["COMPLIANCE", "GOVERNANCE"])


class Locked(NamedTuple):
    """A store below a bucket that locks every object."""

    server: S3Server
    bucket: str
    store: Any

    def held_bytes(self) -> int:
        """Returns the bytes of all versions, which is what the bucket's owner pays for."""
        return sum(version["Size"] for version in self.server.all_versions(self.bucket))


@pytest.fixture
def server(servers: Servers) -> S3Server:
    """S3 by moto."""
    server = servers("s3-moto")
    assert isinstance(server, S3Server)
    return server


def _locked(server: S3Server, mode: str = "COMPLIANCE") -> Locked:
    bucket = f"locked-{uuid4().hex[:12]}"
    server.make_locked_bucket(bucket, mode, DAYS)
    where = {"endpoint_url": server.url, "region_name": REGION}
    fs = fsspec.filesystem("s3", key=server.key_id, secret=server.key, client_kwargs=where)
    return Locked(server, bucket, store_from_filesystem(fs, f"{bucket}/audit"))


def _run(fake: FakeCloudflare, store: Store, attempt_id: str = "one", **changes: Any) -> Any:
    clock = ManualClock()
    spec = pull_spec(concurrency=1, attempt_id=attempt_id, **changes)
    return land(spec, reader_of(fake, clock, DirectTransport(fake, clock)), store)


def _small_fake() -> FakeCloudflare:
    return fake_with(ManualClock(), "huge_records=100000,every=400", records_per_day=1050, requests_per_window=None)


def _check(store: Any, until: datetime | None = None) -> list[str]:
    locks = LockCheck(store.object_locks(), until or datetime.now(UTC) + SOON)
    return [str(found.kind) for found in verify(store, lock_check=locks).findings]


@MODES
def test_window_with_late_records_and_replacement_lands(mode: str, server: S3Server) -> None:
    """First run, second run, addendum, replacement and seals leave a dataset that verifies and is locked."""
    locked, fake = _locked(server, mode), _small_fake()
    assert _run(fake, locked.store).committed
    assert not _run(fake, locked.store).committed
    fake.add(record_at("2026-10-26T03:00:00Z", "late"))
    assert _run(fake, locked.store).manifest.generation == 2
    assert landed_ids(pull_spec(), locked.store) == true_ids(fake)
    assert _run(fake, locked.store, replace=True).manifest.generation == 3
    assert landed_ids(pull_spec(), locked.store) == true_ids(fake)
    assert len(seal(locked.store).created) == 1
    assert seal(locked.store).created == ()
    assert _check(locked.store) == []
    assert staged_keys(locked.store) == []


@pytest.mark.parametrize("step", [19, pytest.param(2, marks=pytest.mark.nightly)])
@pytest.mark.parametrize("after_effect", [False, True], ids=["before it", "after it"])
@pytest.mark.parametrize("replace", [False, True], ids=["first run", "replacement"])
def test_kill_at_a_storage_operation_is_repaired_by_the_next_run(
    step: int, after_effect: bool, replace: bool, server: S3Server
) -> None:
    """A worker killed at any operation leaves a complete commit or none; the next run completes it."""
    number = 1
    while True:
        locked, fake, crash = _locked(server), _small_fake(), CrashPoint(number, after_effect=after_effect)
        if replace:
            _run(fake, locked.store)
        with suppress(KilledError):
            _run(fake, CrashingStore(locked.store, crash), "two", replace=replace)
        landed = landed_ids(pull_spec(), locked.store)
        assert landed in ([], true_ids(fake)), crash.operations[-1]
        _run(fake, locked.store, "three", replace=replace)
        assert landed_ids(pull_spec(), locked.store) == true_ids(fake), crash.operations[-1]
        assert "object_unlocked" not in _check(locked.store)
        if number > len(crash.operations):
            break
        number += step


def test_version_of_each_committed_object_is_kept(server: S3Server) -> None:
    """Removing every object hides the dataset; verify says so, and each byte is still in the bucket."""
    locked, fake = _locked(server), _small_fake()
    _run(fake, locked.store)
    seal(locked.store)
    before = objects(locked.store)
    locked.store.remove(before)
    assert verify(locked.store).severe_count > 0
    client = locked.server.client()
    for marker in client.list_object_versions(Bucket=locked.bucket)["DeleteMarkers"]:
        if marker["IsLatest"] and not marker["Key"].startswith("audit/_staging/"):
            client.delete_object(Bucket=locked.bucket, Key=marker["Key"], VersionId=marker["VersionId"])
    assert objects(locked.store) == before
    assert _check(locked.store) == []


def test_staged_copy_of_each_part_stays_in_the_bucket(server: S3Server) -> None:
    """A landed window holds its parts twice, the staged copy hidden, as the how-to page says."""
    locked, fake = _locked(server), _small_fake()
    summary = _run(fake, locked.store)
    part_bytes = sum(part.size_bytes for part in summary.manifest.parts)
    visible = sum(size_bytes for _, size_bytes in locked.store.list_sizes(""))
    assert part_bytes < visible < part_bytes + 10_000
    assert 0 < locked.held_bytes() - visible - part_bytes < 10_000


@pytest.fixture
def abandoned(server: S3Server) -> Locked:
    """A bucket with the staged and published parts of an attempt that was killed before its manifest."""
    locked, counted = _locked(server), CrashPoint()
    _run(_small_fake(), CrashingStore(_locked(server).store, counted))
    at = next(number for number, name in enumerate(counted.operations, 1) if name.startswith("create _manifests/"))
    with pytest.raises(KilledError):
        _run(_small_fake(), CrashingStore(locked.store, CrashPoint(at)))
    return locked


def test_sweep_reports_what_the_bucket_keeps(abandoned: Locked) -> None:
    """Locked files are hidden and reported with their end, never as removed; a dry run hides nothing."""
    store, now = abandoned.store, datetime.now(UTC)
    sizes = {key: size for key, size in store.list_sizes("") if not key.startswith(("_dataset", "_commit_log/"))}
    assert {key.partition("/")[0] for key in sizes} == {"_staging", "dt=2026-10-26"}
    locks = dict(store.object_locks().read(sizes))
    expected = tuple(RetainedFile(key, sizes[key], locks[key].until) for key in sorted(sizes))
    assert sweep(store, now, dry_run=True, locks=object_locks_of(store)) == SweepReport((), 0, expected)
    assert dict(store.list_sizes("")).items() >= sizes.items()
    held_bytes = abandoned.held_bytes()
    assert sweep(store, now, locks=object_locks_of(store)) == SweepReport((), 0, expected)
    assert not sizes.keys() & set(store.list_keys(""))
    assert abandoned.held_bytes() == held_bytes
    assert sweep(store, now, locks=object_locks_of(store)) == SweepReport((), 0)


def test_sweep_removes_what_is_not_locked_any_more(abandoned: Locked) -> None:
    """After the end of the retention, the files count as removed."""
    keys = [key for key in abandoned.store.list_keys("") if not key.startswith(("_dataset", "_commit_log/"))]
    later = datetime.now(UTC) + timedelta(days=DAYS + 1)
    report = sweep(abandoned.store, later, locks=object_locks_of(abandoned.store))
    assert (list(report.keys), report.retained) == (keys, ())


def test_sweep_in_a_bucket_without_object_lock_removes(server: S3Server) -> None:
    """Without Object Lock nothing is asked of single objects, and the files are removed."""
    name = f"open-{uuid4().hex[:12]}"
    server.make_bucket(name)
    locked = _locked(server)
    store: Any = store_from_filesystem(locked.store._fs, f"{name}/audit")
    key = "_staging/20261026T000000Z-20261027T000000Z/dead/part-00000"
    assert store.create(key, b"12345")
    assert sweep(store, datetime.now(UTC), locks=object_locks_of(store)) == SweepReport((key,), 5)
    assert server.versions(name) == {}


class _Refusing:
    """A store that refuses to remove some keys, as a server without delete markers does, and reads their locks."""

    def __init__(self, store: Store, until: datetime | None) -> None:
        self.store = store
        self._until = until

    def remove(self, keys: Any) -> None:
        """Refuses."""
        raise StorageError("The store refused. Wait.", key=next(iter(keys)))

    def is_enabled(self) -> bool:
        """Returns True."""
        return True

    def read(self, keys: Any) -> Iterator[tuple[str, ObjectLock]]:
        """Yields the same lock for every key."""
        return ((key, ObjectLock("COMPLIANCE", self._until)) for key in keys)


@pytest.mark.parametrize("is_locked", [True, False])
def test_refused_removal_is_an_error_only_without_a_lock(
    is_locked: bool, abandoned: Locked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that refuses to delete locked objects does not fail the sweep; any other refusal does."""
    now = datetime.now(UTC)
    refusing = _Refusing(abandoned.store, now + SOON if is_locked else None)
    monkeypatch.setattr(abandoned.store, "remove", refusing.remove)
    before = set(abandoned.store.list_keys(""))
    if is_locked:
        report = sweep(abandoned.store, now, locks=refusing)
        kept = {"_dataset.json", *logged_keys(abandoned.store)}
        assert (report.keys, {one.key for one in report.retained}) == ((), before - kept)
    else:
        with pytest.raises(StorageError, match="refused"):
            sweep(abandoned.store, now, locks=refusing)
    assert set(abandoned.store.list_keys("")) == before


@MODES
def test_verify_lists_objects_that_are_locked_for_less(mode: str, server: S3Server) -> None:
    """Every needed object is named with its end if the bucket's retention is too short; the summary counts them."""
    locked, fake = _locked(server, mode), _small_fake()
    _run(fake, locked.store)
    seal(locked.store)
    needed = set(visible_keys(locked.store))
    far = LockCheck(locked.store.object_locks(), datetime.now(UTC) + timedelta(days=DAYS + 1))
    report = verify(locked.store, lock_check=far)
    assert {found.key for found in report.findings if found.kind == "object_unlocked"} == needed
    assert all(f"({mode}), not until" in found.detail for found in report.findings)
    assert report.locks is not None
    assert (report.locks.locked_count, report.locks.unlocked_count) == (0, len(needed))
    near = LockCheck(far.reader, datetime.now(UTC) + SOON)
    summary = verify(locked.store, lock_check=near).summary()
    assert (summary["locked_count"], summary["unlocked_count"]) == (len(needed), 0)
    assert summary["governance_count"] == (len(needed) if mode == "GOVERNANCE" else 0)
    assert str(summary["first_unlock_at"]).startswith(f"{datetime.now(UTC) + timedelta(days=DAYS):%Y-%m-%d}")
    assert "locked_count" not in verify(locked.store).summary()


@pytest.fixture
def _in_environment(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The credential and the server in the variables that the S3 client reads."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": server.key_id,
        "AWS_SECRET_ACCESS_KEY": server.key,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": server.url,
    }.items():
        monkeypatch.setenv(name, value)
    fsspec.filesystem("s3").clear_instance_cache()


@pytest.mark.usefixtures("_in_environment")
def test_command_line_checks_locks(server: S3Server, capsys: pytest.CaptureFixture[str]) -> None:
    """Status 0 if all are locked long enough, 1 with the list if not, 2 for a bucket that locks nothing."""
    locked = _locked(server)
    _run(_small_fake(), locked.store)
    place = f"s3://{locked.bucket}/audit"
    near, far = (f"{datetime.now(UTC) + timedelta(days=days):%Y-%m-%d}" for days in (DAYS - 1, DAYS + 2))
    assert main(["verify", place, "--expect-lock", near]) == 0
    assert "first_unlock_at" in capsys.readouterr().out
    assert main(["verify", place, "--expect-lock", far, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["unlocked_count"] == found["severe_count"] == len(found["findings"]) > 0
    name = f"open-{uuid4().hex[:12]}"
    server.make_bucket(name)
    assert main(["verify", f"s3://{name}/audit", "--expect-lock", near]) == 2
    assert "has no Object Lock" in capsys.readouterr().err


@pytest.mark.usefixtures("_in_environment")
def test_command_line_sweeps_a_locked_bucket(abandoned: Locked, capsys: pytest.CaptureFixture[str]) -> None:
    """The retained files are listed with their end, as text and as JSON; the status is 0."""
    keys = [key for key in abandoned.store.list_keys("") if not key.startswith(("_dataset", "_commit_log/"))]
    place = f"s3://{abandoned.bucket}/audit"
    assert main(["sweep", place, "--older-than", "0.000001", "--dry-run", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["keys"], found["size_bytes"], [one["key"] for one in found["retained"]]) == ([], 0, keys)
    assert main(["sweep", place, "--older-than", "0.000001"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "0 orphaned files removed; 0 bytes"
    assert [line.partition("  kept until ")[0] for line in lines[1:-1]] == keys
    assert lines[-1].startswith(f"{count_of(len(keys), 'orphaned file')} hidden, not removed, kept by the bucket; ")
