"""A real loader, killed by SIGKILL at random moments: no row is lost or duplicated, no window is half loaded."""

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
from airflow_audit_provider.pipelines import committed
from tests.pipelines.fork_server import ForkServer, cpu_seconds_of, fork_for_lines
from tests.pipelines.load.warehouses import LoadTarget
from tests.pipelines.verify.dataset import commit, record, records_in, window

# Rounds in each of four warehouses, so some seventy in all. The late records of each round make the next one longer.
ROUNDS = int(os.environ.get("LOADER_KILL_ROUNDS", "17"))
SEED = 20261126
WINDOWS = [window(0.5 * number) for number in range(6)]
FORK_SERVER_CODE = "from tests.pipelines.load.test_kills import serve_loads; serve_loads()"


def serve_loads() -> None:
    """Loads once for every line of ``kind address table folder``; the fork server runs this."""
    committed._GROUP_RECORDS = 50
    fork_for_lines(
        lambda kind, address, table, folder: _load(LoadTarget(kind, address.replace("|", " "), table), folder)
    )


def _load(target: LoadTarget, folder: str) -> None:
    target.load(LocalStore(folder))


@pytest.fixture(scope="module")
def fork_server() -> Iterator[ForkServer]:
    """A process that forks loaders."""
    fork_server = ForkServer(FORK_SERVER_CODE)
    yield fork_server
    fork_server.close()


class Landed:
    """A destination that gets late records, and the ids of each generation of each window."""

    def __init__(self, folder: Path) -> None:
        self.store = LocalStore(str(folder))
        self.folder = folder
        self.ids: dict[tuple[datetime, int], set[str]] = {}
        self.generation = 1
        for number, one in enumerate(WINDOWS):
            self._commit(number, records_in(one, 300, f"w{number}-"))

    def add_late(self) -> None:
        """Commits a late record, and so a new generation, in every window."""
        self.generation += 1
        for number, one in enumerate(WINDOWS):
            late = record(one.start + timedelta(seconds=self.generation), f"late{number}-{self.generation}")
            self._commit(number, [late])

    def _commit(self, number: int, records: list[AuditRecord]) -> None:
        one = WINDOWS[number]
        commit(self.store, one, records)
        older = self.ids.get((one.start, self.generation - 1), set())
        self.ids[one.start, self.generation] = older | {each.id for each in records}


def _check_whole_generations(target: LoadTarget, landed: Landed) -> list[bool]:
    """Asserts that each window has the rows of its generation in the ledger; returns which have the newest one."""
    found: dict[datetime, list[str]] = defaultdict(list)
    for start, record_id in target.keyed_ids():
        found[start].append(record_id)
    with closing(target.open()) as warehouse:
        warehouse.prepare(table_columns())
        loaded_generations = {entry.window.start: entry.generation for entry in warehouse.loaded("d")}
    assert set(found) <= set(loaded_generations)
    for start, generation in loaded_generations.items():
        assert sorted(found[start]) == sorted(landed.ids[start, generation])
    return [loaded_generations.get(one.start) == landed.generation for one in WINDOWS]


def _run(fork_server: ForkServer, line: str, kill_after_seconds: float) -> tuple[bool, float]:
    """Runs a loader, killed once it has used so much CPU time; return whether it was, and the CPU time it used."""
    used_seconds = 0.0

    def is_time() -> bool:
        nonlocal used_seconds
        used_seconds = max(used_seconds, cpu_seconds_of(fork_server.child))
        return used_seconds >= kill_after_seconds

    status = fork_server.run(line, is_time)
    assert status in {0, -signal.SIGKILL}
    return status != 0, used_seconds


@pytest.mark.nightly
@pytest.mark.parametrize("target", ["duckdb", "psycopg", "iceberg", "delta", "clickhouse"], indirect=True)
def test_loader_killed_at_random_moments_leaves_whole_generations(
    target: LoadTarget, fork_server: ForkServer, tmp_path: Path
) -> None:
    """Whenever a loader is killed, each window has the rows of exactly one generation, each row once."""
    moments, landed = random.Random(SEED), Landed(tmp_path / "landed")
    line = f"{target.kind} {target.address.replace(' ', '|')} {target.table} {landed.folder}"
    was_killed, load_seconds = _run(fork_server, line, math.inf)
    assert not was_killed
    assert all(_check_whole_generations(target, landed))
    killed_count = unfinished_count = mixed_count = 0
    for _ in range(ROUNDS):
        landed.add_late()
        # Late moments are drawn more often, because a load reads for two thirds of its time before it writes.
        was_killed, seconds = _run(fork_server, line, moments.triangular(0, load_seconds, load_seconds))
        are_newest = _check_whole_generations(target, landed)
        assert was_killed or all(are_newest)
        # Speed varies and loads grow: wait longer after each kill, and take the time of a load that ended.
        load_seconds = load_seconds * 1.05 if was_killed else seconds
        killed_count += was_killed
        unfinished_count += not all(are_newest)
        mixed_count += any(are_newest) and not all(are_newest)
    assert _run(fork_server, line, math.inf)[0] is False
    assert all(_check_whole_generations(target, landed))
    assert target.ids() == sorted(each for one in WINDOWS for each in landed.ids[one.start, landed.generation])
    assert killed_count >= ROUNDS // 2
    assert unfinished_count >= ROUNDS // 5
    assert mixed_count > 0
