"""Full disks, lost permissions and clocks that jump back: a named error or none, and nothing is lost."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.core.ports import Request, Response, Transport
from airflow_audit_provider.exceptions import StorageError, StorageUnavailableError
from airflow_audit_provider.pipelines.verify import verify
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.in_process import DirectTransport
from tests.pipelines.pull.landing import (
    fake_with,
    land,
    landed_ids,
    pull_spec,
    reader_of,
    staged_keys,
    true_ids,
    visible_keys,
)

pytestmark = pytest.mark.integration

NOBODY_UID = 65534
PROJECT = Path(__file__).parents[3]
# The records have nearly 3 MB, the small disk has 2 MB.
SMALL_DISK, ROOMY_DISK = "size=2m", "size=64m"
RECORD_COUNT = 3000


def fill_a_disk(folder: str) -> None:
    """Pulls a day onto a disk that is too small, then onto a larger one; runs in the child process."""
    fake, store = fake_with(ManualClock(), records_per_day=RECORD_COUNT), LocalStore(folder)
    _mount("tmpfs", folder, SMALL_DISK)
    with pytest.raises(StorageUnavailableError, match="has room"):
        _land(fake, store)
    assert not visible_keys(store)
    _mount("tmpfs", folder, f"remount,{ROOMY_DISK}")
    _check_nothing_lost(fake, store)


def turn_read_only(folder: str) -> None:
    """Pulls a day onto a disk that becomes read-only, then writable again; runs in the child process."""
    fake, store = fake_with(ManualClock(), records_per_day=RECORD_COUNT), LocalStore(folder)
    _mount("tmpfs", folder, ROOMY_DISK)
    with pytest.raises(StorageError, match="has the permission") as caught:
        _land(fake, store, lambda: _mount("tmpfs", folder, "remount,ro"))
    assert not caught.value.retryable
    assert not visible_keys(store)
    _mount("tmpfs", folder, "remount,rw")
    _check_nothing_lost(fake, store)


def _mount(device: str, folder: str, options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, device, folder], check=True)


class _Midway:
    """Transport that runs an action before the third request."""

    def __init__(self, transport: Transport, action: Callable[[], None]) -> None:
        self._transport = transport
        self._action = action
        self._count = 0

    def send(self, request: Request) -> Response:
        """Runs the action before the third request, then sends."""
        self._count += 1
        if self._count == 3:
            self._action()
        return self._transport.send(request)


def _land(fake: FakeCloudflare, store: LocalStore, action: Callable[[], None] = lambda: None) -> None:
    clock = ManualClock()
    transport = _Midway(DirectTransport(fake, clock), action)
    land(pull_spec(concurrency=1), reader_of(fake, clock, transport), store)


def _check_nothing_lost(fake: FakeCloudflare, store: LocalStore) -> None:
    """Runs another attempt to its end; asserts that nothing is lost, duplicated or left in staging."""
    land(pull_spec(attempt_id="two"), reader_of(fake, ManualClock()), store)
    assert landed_ids(pull_spec(), store) == true_ids(fake)
    assert verify(store).severe_count == 0
    store.remove(staged_keys(store))
    kept = ("_dataset.json", "_commit_log/", "dt=", "_manifests/")
    assert all(key.startswith(kept) for key in store.list_keys(""))


@pytest.mark.parametrize("scenario", ["fill_a_disk", "turn_read_only"])
def test_full_or_read_only_disk_is_an_error_without_loss(scenario: str, tmp_path: Path) -> None:
    """A real disk that is full or becomes read-only is a named error; nothing is visible, and the next run lands it."""
    code = f"from tests.pipelines.pull.test_hostile_machines import {scenario}; {scenario}({str(tmp_path)!r})"
    # A new mount needs a namespace, which any user can create.
    command = ["unshare", "--map-root-user", "--mount", sys.executable, "-c", code]
    completed = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=620, check=False)
    assert completed.returncode == 0, completed.stderr


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder of an unprivileged user, so that permissions apply."""
    with tempfile.TemporaryDirectory() as name:
        if os.geteuid() == 0:
            os.chown(name, NOBODY_UID, NOBODY_UID)
        yield Path(name)


@contextmanager
def _unprivileged() -> Iterator[None]:
    """Runs the block as an unprivileged user, because permissions do not apply to root."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY_UID)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


def _allow(folder: Path, *, writing: bool) -> None:
    """Grants or revokes write permission in every folder below this one."""
    for each in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
        each.chmod(stat.S_IRWXU if writing else stat.S_IRUSR | stat.S_IXUSR)


def test_lost_permission_is_not_retryable(open_folder: Path) -> None:
    """A lost write permission is a named error that is not retryable; once it is granted again, nothing is lost."""
    fake, store = fake_with(ManualClock(), records_per_day=RECORD_COUNT), LocalStore(str(open_folder))
    with _unprivileged(), pytest.raises(StorageError, match="has the permission") as caught:
        _land(fake, store, lambda: _allow(open_folder, writing=False))
    assert not caught.value.retryable
    assert not visible_keys(store)
    _allow(open_folder, writing=True)
    _check_nothing_lost(fake, store)


class _JumpingClock(ManualClock):
    """Clock that is set back by an hour at every reading."""

    def __init__(self) -> None:
        super().__init__()
        self._reads = 0

    def now(self) -> datetime:
        """Returns an earlier time at every call."""
        self._reads += 1
        return super().now() - timedelta(hours=self._reads)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_clock_that_jumps_back_changes_nothing(version: str, tmp_path: Path) -> None:
    """A clock that is set back repeatedly changes neither the landed records nor the second run."""
    fake, store = fake_with(ManualClock(), records_per_day=RECORD_COUNT), LocalStore(str(tmp_path))
    for attempt_id in ("one", "two"):
        clock = _JumpingClock()
        outcome = land(
            pull_spec(version, attempt_id=attempt_id), reader_of(fake, clock, DirectTransport(fake, clock)), store
        )
        assert landed_ids(pull_spec(version), store) == true_ids(fake, version)
        assert outcome.committed is (attempt_id == "one")
    assert verify(store).severe_count == 0
