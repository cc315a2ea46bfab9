"""Concurrent loaders, each a real process: one of them wins a window, and no commit is lost."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.pipelines.load import LoadSpec, load_committed
from tests.pipelines.fork_server import ForkServer, fork_for_lines, work_and_exit
from tests.pipelines.load.warehouses import DESTINATION, LoadTarget
from tests.pipelines.verify.dataset import commit, record, records_in, window

LOADER_COUNT = 3
KINDS = ["duckdb", "psycopg", "iceberg", "delta", pytest.param("clickhouse", marks=pytest.mark.nightly)]
WINDOWS = [window(0.5 * number) for number in range(8)]
# All loaders load every second window in the test of the same windows: four prove the same as eight.
SHARED_STEP = 2
_TIMEOUT_SECONDS = 300
FORK_SERVER_CODE = (
    "from tests.pipelines.load.test_concurrent_loaders import serve_concurrent_loads; serve_concurrent_loads()"
)


def serve_concurrent_loads() -> None:
    """Runs concurrent loaders for every line of ``kind address table folder shares``; the fork server runs this."""
    fork_for_lines(_load_concurrently)


def _load_concurrently(kind: str, address: str, table: str, folder: str, shares: str) -> None:
    target = LoadTarget(kind, address.replace("|", " "), table)
    loaders = [_forked(target, folder, *map(int, share.split(":"))) for share in shares.split(",")]
    statuses = [os.waitstatus_to_exitcode(os.waitpid(loader, 0)[1]) for loader in loaders]
    if any(statuses):
        raise RuntimeError(f"Loaders ended with {statuses}.")


def _forked(target: LoadTarget, folder: str, first: int, step: int) -> int:
    loader = os.fork()
    if not loader:
        work_and_exit(_load_share, target, folder, first, step)
    return loader


def _load_share(target: LoadTarget, folder: str, first: int, step: int) -> None:
    """Loads every ``step``-th window from ``first`` on; each opens the warehouse again, as a task does."""
    store = LocalStore(folder)
    for one in WINDOWS[first::step]:
        with closing(target.open()) as warehouse:
            load_committed(LoadSpec("d", DESTINATION, (one,)), store, warehouse, lambda _: None)


@pytest.fixture(scope="module")
def fork_server() -> Iterator[ForkServer]:
    """A process that forks loaders."""
    fork_server = ForkServer(FORK_SERVER_CODE)
    yield fork_server
    fork_server.close()


def _run_concurrently(fork_server: ForkServer, target: LoadTarget, folder: Path, shares: list[tuple[int, int]]) -> None:
    """Runs concurrent loaders; fails if one of them fails."""
    shares_text = ",".join(f"{first}:{step}" for first, step in shares)
    line = f"{target.kind} {target.address.replace(' ', '|')} {target.table} {folder} {shares_text}"
    give_up_at = time.monotonic() + _TIMEOUT_SECONDS
    assert fork_server.run(line, lambda: time.monotonic() > give_up_at) == 0


@pytest.fixture
def landed(tmp_path: Path) -> LocalStore:
    """A destination with eight committed windows."""
    store = LocalStore(str(tmp_path / "landed"))
    for number, one in enumerate(WINDOWS):
        commit(store, one, records_in(one, 20, f"w{number}-"))
    return store


def _committed_ids(step: int = 1) -> list[str]:
    windows = list(enumerate(WINDOWS))[::step]
    return sorted(each.id for number, one in windows for each in records_in(one, 20, f"w{number}-"))


@pytest.mark.parametrize("target", KINDS, indirect=True)
def test_backfill_by_concurrent_loaders_loses_nothing(
    target: LoadTarget, fork_server: ForkServer, landed: LocalStore, tmp_path: Path
) -> None:
    """Tasks that load different windows into one new table at the same time lose no rows."""
    shares = [(first, LOADER_COUNT) for first in range(LOADER_COUNT)]
    _run_concurrently(fork_server, target, tmp_path / "landed", shares)
    assert target.ids() == _committed_ids()
    if target.kind == "iceberg":
        snapshots = target.iceberg_table().snapshots()
        assert len({snapshot.summary["audit.window-start"] for snapshot in snapshots}) == len(snapshots) == len(WINDOWS)


@pytest.mark.parametrize("target", KINDS, indirect=True)
def test_concurrent_loaders_of_the_same_windows_duplicate_nothing(
    target: LoadTarget, fork_server: ForkServer, landed: LocalStore, tmp_path: Path
) -> None:
    """Loaders that load the same windows at the same time, before and after late records, duplicate no row."""
    _run_concurrently(fork_server, target, tmp_path / "landed", [(0, SHARED_STEP)] * LOADER_COUNT)
    assert target.ids() == _committed_ids(SHARED_STEP)
    for number, one in enumerate(WINDOWS):
        commit(landed, one, [record(one.start + timedelta(seconds=1), f"late{number}")])
    _run_concurrently(fork_server, target, tmp_path / "landed", [(0, SHARED_STEP)] * LOADER_COUNT)
    late = [f"late{number}" for number in range(0, len(WINDOWS), SHARED_STEP)]
    assert target.ids() == sorted([*_committed_ids(SHARED_STEP), *late])
