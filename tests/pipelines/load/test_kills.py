"""A real loader, killed without a word at random moments: no row lost, none doubled, no window by halves."""

from __future__ import annotations

import math
import os
import random
import signal
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.formats.warehouse_rows import table_columns
from airflow_audit_provider.pipelines import load as loading
from tests.pipelines.load.warehouses import Place
from tests.pipelines.pull.child_pulls import Nursery, cpu_seconds_of, fork_for_lines
from tests.pipelines.verify.dataset import commit, record, records_in, window

# In each of three warehouses, so some fifty in all; of late records Iceberg's table grows, and each round with it.
ROUNDS = int(os.environ.get("LOADER_KILL_ROUNDS", "17"))
SEED = 20261126
WINDOWS = [window(0.5 * number) for number in range(6)]
NURSERY = "from tests.pipelines.load.test_kills import bear_loaders; bear_loaders()"


def bear_loaders() -> None:
    """Load once for every line of ``kind address table folder``; what the nursery does."""
    loading._GROUP_RECORDS = 50
    fork_for_lines(lambda kind, address, table, folder: _load(Place(kind, address.replace("|", " "), table), folder))


def _load(place: Place, folder: str) -> None:
    place.load(LocalStore(folder))


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    """A process that begins loaders."""
    nursery = Nursery(NURSERY)
    yield nursery
    nursery.close()


class Landed:
    """A destination that gets late records, and which ids each generation of each window has."""

    def __init__(self, folder: Path) -> None:
        self.store = LocalStore(str(folder))
        self.folder = folder
        self.ids: dict[tuple[datetime, int], set[str]] = {}
        self.generation = 1
        for number, one in enumerate(WINDOWS):
            self._commit(number, records_in(one, 300, f"w{number}-"))

    def add_late(self) -> None:
        """Give every window a next generation."""
        self.generation += 1
        for number, one in enumerate(WINDOWS):
            late = record(one.start + timedelta(seconds=self.generation), f"late{number}-{self.generation}")
            self._commit(number, [late])

    def _commit(self, number: int, records: list[AuditRecord]) -> None:
        one = WINDOWS[number]
        commit(self.store, one, records)
        older = self.ids.get((one.start, self.generation - 1), set())
        self.ids[one.start, self.generation] = older | {each.id for each in records}


def _refuse_halves(place: Place, landed: Landed) -> list[bool]:
    """Refuse rows that are not those of the generation in the ledger; say of which windows the newest is loaded."""
    found: dict[datetime, list[str]] = defaultdict(list)
    for start, record_id in place.keyed_ids():
        found[start].append(record_id)
    with closing(place.open()) as warehouse:
        warehouse.prepare(table_columns())
        entered = {entry.window.start: entry.generation for entry in warehouse.loaded("d")}
    assert set(found) <= set(entered)
    for start, generation in entered.items():
        assert sorted(found[start]) == sorted(landed.ids[start, generation])
    return [entered.get(one.start) == landed.generation for one in WINDOWS]


def _run(nursery: Nursery, line: str, kill_after_seconds: float) -> tuple[bool, float]:
    """Run a loader, killed once it has used so much CPU time; return whether it was, and the CPU time it used."""
    used_seconds = 0.0

    def is_time() -> bool:
        nonlocal used_seconds
        used_seconds = max(used_seconds, cpu_seconds_of(nursery.child))
        return used_seconds >= kill_after_seconds

    status = nursery.run(line, is_time)
    assert status in {0, -signal.SIGKILL}
    return status != 0, used_seconds


@pytest.mark.nightly
@pytest.mark.parametrize("place", ["duckdb", "psycopg", "iceberg"], indirect=True)
def test_loader_killed_at_random_moments(place: Place, nursery: Nursery, tmp_path: Path) -> None:
    """However often and whenever a loader is killed, each window has the rows of one generation, each once."""
    moments, landed = random.Random(SEED), Landed(tmp_path / "landed")
    line = f"{place.kind} {place.address.replace(' ', '|')} {place.table} {landed.folder}"
    was_killed, whole_seconds = _run(nursery, line, math.inf)
    assert not was_killed
    assert all(_refuse_halves(place, landed))
    killed_count = unfinished_count = mixed_count = 0
    for _ in range(ROUNDS):
        landed.add_late()
        # Late moments are drawn more often: two thirds of a load are reading, and only then windows are written.
        was_killed, seconds = _run(nursery, line, moments.triangular(0, whole_seconds, whole_seconds))
        are_newest = _refuse_halves(place, landed)
        assert was_killed or all(are_newest)
        # The machine's speed changes, and loads get more to do: aim later until one is whole, then at its length.
        whole_seconds = whole_seconds * 1.05 if was_killed else seconds
        killed_count += was_killed
        unfinished_count += not all(are_newest)
        mixed_count += any(are_newest) and not all(are_newest)
    assert _run(nursery, line, math.inf)[0] is False
    assert all(_refuse_halves(place, landed))
    assert place.ids() == sorted(each for one in WINDOWS for each in landed.ids[one.start, landed.generation])
    assert killed_count >= ROUNDS // 2
    assert unfinished_count >= ROUNDS // 5
    assert mixed_count > 0
