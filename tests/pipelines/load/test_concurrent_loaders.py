"""Real loaders side by side, each a process of its own: of one window one wins, and no commit loses another's."""

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
from tests.pipelines.load.warehouses import Place
from tests.pipelines.pull.child_pulls import Nursery, fork_for_lines, work_and_exit
from tests.pipelines.verify.dataset import commit, record, records_in, window

LOADER_COUNT = 3
WINDOWS = [window(0.5 * number) for number in range(8)]
_PATIENCE_SECONDS = 300
NURSERY = "from tests.pipelines.load.test_concurrent_loaders import bear_loaders; bear_loaders()"


def bear_loaders() -> None:
    """Run loaders side by side for every line of ``kind address table folder shares``; what the nursery does."""
    fork_for_lines(_load_side_by_side)


def _load_side_by_side(kind: str, address: str, table: str, folder: str, shares: str) -> None:
    place = Place(kind, address.replace("|", " "), table)
    loaders = [_forked(place, folder, *map(int, share.split(":"))) for share in shares.split(",")]
    statuses = [os.waitstatus_to_exitcode(os.waitpid(loader, 0)[1]) for loader in loaders]
    if any(statuses):
        raise RuntimeError(f"Loaders ended with {statuses}.")


def _forked(place: Place, folder: str, first: int, step: int) -> int:
    loader = os.fork()
    if not loader:
        work_and_exit(_load_share, place, folder, first, step)
    return loader


def _load_share(place: Place, folder: str, first: int, step: int) -> None:
    """Load every so manyeth window, each with a warehouse opened anew as a task does."""
    store = LocalStore(folder)
    for one in WINDOWS[first::step]:
        with closing(place.open()) as warehouse:
            load_committed(LoadSpec("d", (one,)), store, warehouse, lambda _: None)


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    """A process that begins loaders."""
    nursery = Nursery(NURSERY)
    yield nursery
    nursery.close()


def _side_by_side(nursery: Nursery, place: Place, folder: Path, shares: list[tuple[int, int]]) -> None:
    """Run loaders at the same time; every one has to end well."""
    spelled = ",".join(f"{first}:{step}" for first, step in shares)
    line = f"{place.kind} {place.address.replace(' ', '|')} {place.table} {folder} {spelled}"
    give_up_at = time.monotonic() + _PATIENCE_SECONDS
    assert nursery.run(line, lambda: time.monotonic() > give_up_at) == 0


@pytest.fixture
def landed(tmp_path: Path) -> LocalStore:
    """Eight windows with records."""
    store = LocalStore(str(tmp_path / "landed"))
    for number, one in enumerate(WINDOWS):
        commit(store, one, records_in(one, 20, f"w{number}-"))
    return store


def _true_ids() -> list[str]:
    return sorted(each.id for number, one in enumerate(WINDOWS) for each in records_in(one, 20, f"w{number}-"))


@pytest.mark.parametrize("place", ["duckdb", "psycopg", "iceberg"], indirect=True)
def test_backfill_side_by_side(place: Place, nursery: Nursery, landed: LocalStore, tmp_path: Path) -> None:
    """Tasks that load different windows into one new table at the same time lose nothing of each other."""
    shares = [(first, LOADER_COUNT) for first in range(LOADER_COUNT)]
    _side_by_side(nursery, place, tmp_path / "landed", shares)
    assert place.ids() == _true_ids()
    if place.kind == "iceberg":
        snapshots = place.iceberg_table().snapshots()
        assert len({snapshot.summary["audit.window-start"] for snapshot in snapshots}) == len(snapshots) == len(WINDOWS)


@pytest.mark.parametrize("place", ["duckdb", "psycopg", "iceberg"], indirect=True)
def test_everybody_loads_everything(place: Place, nursery: Nursery, landed: LocalStore, tmp_path: Path) -> None:
    """Loaders that load the same windows at the same time, before and after late records, double none."""
    _side_by_side(nursery, place, tmp_path / "landed", [(0, 1)] * LOADER_COUNT)
    assert place.ids() == _true_ids()
    for number, one in enumerate(WINDOWS):
        commit(landed, one, [record(one.start + timedelta(seconds=1), f"late{number}")])
    _side_by_side(nursery, place, tmp_path / "landed", [(0, 1)] * LOADER_COUNT)
    assert place.ids() == sorted([*_true_ids(), *(f"late{number}" for number in range(len(WINDOWS)))])
