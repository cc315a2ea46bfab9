"""A full disk, a lost permission, a clock set back: a named error or none, nothing lost, and the next run mends it."""

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
from airflow_audit_provider.pipelines import verify as auditing
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.in_process import DirectTransport
from tests.pipelines.pull.landing import (
    fake_with,
    land,
    landed_ids,
    order,
    source_of,
    staged_keys,
    true_ids,
    visible_keys,
)

pytestmark = pytest.mark.integration

NOBODY = 65534
PROJECT = Path(__file__).parents[3]
# Nearly three megabytes of records for a disk of two.
SMALL_DISK, ROOMY_DISK = "size=2m", "size=64m"
RECORD_COUNT = 3000


def fill_a_disk(folder: str) -> None:
    """Land a day on a disk that is too small for it, then on a larger one; what the child process does."""
    fake, store = fake_with(ManualClock(), records_per_day=RECORD_COUNT), LocalStore(folder)
    _mount("tmpfs", folder, SMALL_DISK)
    with pytest.raises(StorageUnavailableError, match="has room"):
        _land(fake, store)
    assert not visible_keys(store)
    _mount("tmpfs", folder, f"remount,{ROOMY_DISK}")
    _refuse_loss(fake, store)


def turn_read_only(folder: str) -> None:
    """Land a day on a disk that becomes read-only midway, then on one that is not; what the child process does."""
    fake, store = fake_with(ManualClock(), records_per_day=RECORD_COUNT), LocalStore(folder)
    _mount("tmpfs", folder, ROOMY_DISK)
    with pytest.raises(StorageError, match="has the permission") as caught:
        _land(fake, store, lambda: _mount("tmpfs", folder, "remount,ro"))
    assert not caught.value.retryable
    assert not visible_keys(store)
    _mount("tmpfs", folder, "remount,rw")
    _refuse_loss(fake, store)


def _mount(device: str, folder: str, options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, device, folder], check=True)


class _Midway:
    """A transport on which something happens before the third request."""

    def __init__(self, transport: Transport, happen: Callable[[], None]) -> None:
        self._transport = transport
        self._happen = happen
        self._count = 0

    def send(self, request: Request) -> Response:
        """Send, after what happens."""
        self._count += 1
        if self._count == 3:
            self._happen()
        return self._transport.send(request)


def _land(fake: FakeCloudflare, store: LocalStore, happen: Callable[[], None] = lambda: None) -> None:
    clock = ManualClock()
    transport = _Midway(DirectTransport(fake, clock), happen)
    land(order(concurrency=1), source_of(fake, clock, transport), store)


def _refuse_loss(fake: FakeCloudflare, store: LocalStore) -> None:
    """Let a run come to its end; refuse anything lost, doubled or left."""
    land(order(attempt_id="two"), source_of(fake, ManualClock()), store)
    assert landed_ids(order(), store) == true_ids(fake)
    assert auditing.verify(store).severe_count == 0
    store.remove(staged_keys(store))
    assert all(key.startswith(("dt=", "_manifests/")) for key in store.list_keys(""))


@pytest.mark.parametrize("story", ["fill_a_disk", "turn_read_only"])
def test_a_disk_that_fails(story: str, tmp_path: Path) -> None:
    """A real disk that is full or becomes read-only midway is a named error, shows nothing, and loses nothing."""
    code = f"from tests.pipelines.pull.test_hostile_machines import {story}; {story}({str(tmp_path)!r})"
    # A mount of its own needs a namespace of its own, which any user may have.
    command = ["unshare", "--map-root-user", "--mount", sys.executable, "-c", code]
    answer = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=620, check=False)
    assert answer.returncode == 0, answer.stderr


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that belongs to a user who is not root and so may lose a permission."""
    with tempfile.TemporaryDirectory() as name:
        if os.geteuid() == 0:
            os.chown(name, NOBODY, NOBODY)
        yield Path(name)


@contextmanager
def _unprivileged() -> Iterator[None]:
    """Be a user for whom permissions count; root is none."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


def _allow(folder: Path, *, writing: bool) -> None:
    """Give or take the permission to write in every folder there is."""
    for each in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
        each.chmod(stat.S_IRWXU if writing else stat.S_IRUSR | stat.S_IXUSR)


def test_a_permission_that_is_lost_midway(open_folder: Path) -> None:
    """Who may no longer write gets a named error that no retry mends; with the permission back, nothing is lost."""
    fake, store = fake_with(ManualClock(), records_per_day=RECORD_COUNT), LocalStore(str(open_folder))
    with _unprivileged(), pytest.raises(StorageError, match="has the permission") as caught:
        _land(fake, store, lambda: _allow(open_folder, writing=False))
    assert not caught.value.retryable
    assert not visible_keys(store)
    _allow(open_folder, writing=True)
    _refuse_loss(fake, store)


class _JumpingClock(ManualClock):
    """A clock that somebody sets back by an hour whenever it is read."""

    def __init__(self) -> None:
        super().__init__()
        self._reads = 0

    def now(self) -> datetime:
        """Return an earlier time than before."""
        self._reads += 1
        return super().now() - timedelta(hours=self._reads)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_clock_that_jumps_backwards(version: str, tmp_path: Path) -> None:
    """A clock that is set back again and again changes nothing of what lands, and resuming works by it too."""
    fake, store = fake_with(ManualClock(), records_per_day=RECORD_COUNT), LocalStore(str(tmp_path))
    for attempt_id in ("one", "two"):
        clock = _JumpingClock()
        outcome = land(
            order(version, attempt_id=attempt_id), source_of(fake, clock, DirectTransport(fake, clock)), store
        )
        assert landed_ids(order(version), store) == true_ids(fake, version)
        assert outcome.committed is (attempt_id == "one")
    assert auditing.verify(store).severe_count == 0
