"""A real loader, killed without a word at random moments: no row lost, none doubled, no window by halves."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from airflow_audit_provider import loading
from airflow_audit_provider.adapters.storage import LocalStore
from airflow_audit_provider.core.records import AuditRecord
from airflow_audit_provider.formats.table_rows import table_columns
from tests.auditing.dataset import commit, record, records_in, window
from tests.loading.warehouses import Place
from tests.pipeline.nursery import Nursery, fork_for_lines

# In each of three warehouses, so some fifty in all; of late records Iceberg's table grows, and each round with it.
ROUNDS = int(os.environ.get("LOADER_KILL_ROUNDS", "17"))
SEED = 20261126
WINDOWS = [window(0.5 * number) for number in range(6)]
NURSERY = "from tests.loading.test_kills import bear_loaders; bear_loaders()"


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


def _refuse_halves(place: Place, landed: Landed) -> bool:
    """Refuse rows that are not those of the generation in the ledger; say whether every newest one is loaded."""
    found: dict[datetime, list[str]] = defaultdict(list)
    for start, record_id in place.keyed_ids():
        found[start].append(record_id)
    with closing(place.open()) as warehouse:
        warehouse.prepare(table_columns())
        entered = {entry.window.start: entry.generation for entry in warehouse.loaded("d")}
    assert set(found) <= set(entered)
    for start, generation in entered.items():
        assert sorted(found[start]) == sorted(landed.ids[start, generation])
    return len(entered) == len(WINDOWS) and set(entered.values()) == {landed.generation}


def _timed(nursery: Nursery, line: str) -> float:
    began_at = time.monotonic()
    assert nursery.run(line) == 0
    return time.monotonic() - began_at


def _within(moments: random.Random, whole_seconds: float) -> Callable[[], bool]:
    kill_at = time.monotonic() + moments.uniform(0, whole_seconds)
    return lambda: time.monotonic() >= kill_at


@pytest.mark.slow
@pytest.mark.parametrize("place", ["duckdb", "psycopg", "iceberg"], indirect=True)
def test_loader_killed_at_random_moments(place: Place, nursery: Nursery, tmp_path: Path) -> None:
    """However often and whenever a loader is killed, each window has the rows of one generation, each once."""
    moments, landed = random.Random(SEED), Landed(tmp_path / "landed")
    line = f"{place.kind} {place.address.replace(' ', '|')} {place.table} {landed.folder}"
    whole_seconds = _timed(nursery, line)
    assert _refuse_halves(place, landed)
    killed_count = partial_count = 0
    for _ in range(ROUNDS):
        landed.add_late()
        began_at = time.monotonic()
        status = nursery.run(line, _within(moments, whole_seconds))
        assert status in {0, -signal.SIGKILL}
        if status == 0:
            # The first load is slow on a busy machine; moments after the end of all others would kill nobody.
            whole_seconds = min(whole_seconds, time.monotonic() - began_at)
        killed_count += status != 0
        partial_count += not _refuse_halves(place, landed)
    assert nursery.run(line) == 0
    assert _refuse_halves(place, landed)
    assert place.ids() == sorted(each for one in WINDOWS for each in landed.ids[one.start, landed.generation])
    assert killed_count >= ROUNDS // 2
    assert partial_count >= ROUNDS // 5
