"""Precision and recall of the view that pairs records of one action; `python -m tests.docs.pairing` prints the table.

Invariant: the records are landed, loaded and paired by the code that a task runs.
"""

from __future__ import annotations

import json
import tempfile
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from airflow_audit_provider.adapters.clock import SystemClock
from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.adapters.warehouses.duckdb import open_duckdb
from airflow_audit_provider.adapters.warehouses.sql import SqlWarehouse, table_name
from airflow_audit_provider.core.archive.stitching import Stitching, stitching_of
from airflow_audit_provider.pipelines.load import LoadOutcome, LoadSpec
from airflow_audit_provider.pipelines.stitched_load import load_stitched
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.settings import ACCOUNT_ID
from dags.cloudflare_audit_both_versions import ACTIONS_VIEW
from tests.docs.paired_actions import START, Action, Faults, actions
from tests.pipelines.pull.landing import fake_with, land, pull_spec, reader_of

COUNT, SEED = 5_000, 1
CASES = {
    "times up to 0.5 s apart": Faults(apart=timedelta(seconds=0.5)),
    "times up to 2 s apart": Faults(apart=timedelta(seconds=2)),
    "times up to 10 s apart": Faults(apart=timedelta(seconds=10)),
    "times up to 2 s apart, a third without resource": Faults(no_resource=1 / 3),
}
HISTORY = "file:///history"
PAIRS = "select v1_id, v2_id from cloudflare_audit_actions where paired_by is not null"


class Score(NamedTuple):
    """How many pairs there are, how many the view has, and how many of these are true."""

    true_count: int
    found_count: int
    right_count: int

    @property
    def precision(self) -> float:
        """The share of found pairs that are true."""
        return self.right_count / self.found_count

    @property
    def recall(self) -> float:
        """The share of true pairs that are found."""
        return self.right_count / self.true_count


def record_id(raw: bytes | None) -> str | None:
    """Returns a record's id, None without a record."""
    return None if raw is None else str(json.loads(raw)["id"])


def history() -> Stitching:
    """Returns the history of the generated day, which is in the overlap."""
    return stitching_of(ACCOUNT_ID, (), START, timedelta(days=30))


def landed(folder: Path, made: list[Action]) -> Path:
    """Lands the records of both versions below one root."""
    clock = ManualClock()
    fake = fake_with(clock, records_per_day=0)
    for action in made:
        for version, raw in (("v1", action.v1), ("v2", action.v2)):
            if raw is not None:
                fake.add(raw, version)
    for version in ("v1", "v2"):
        spec = pull_spec(version, file_format="parquet", compression="zstd", schema="normalized")
        land(spec, reader_of(fake, clock), LocalStore(str(folder / version)))
    return folder


def loaded(root: Path, warehouse: Any) -> LoadOutcome:
    """Loads both versions into one table."""
    spec = LoadSpec(HISTORY, HISTORY)
    return load_stitched(spec, history(), lambda name: LocalStore(str(root / name)), warehouse, lambda _: None)


def in_duckdb(folder: Path, made: list[Action]) -> str:
    """Lands and loads actions, and creates the view; returns the DuckDB file."""
    path = str(folder / "audit.duckdb")
    with closing(SqlWarehouse(open_duckdb(path, SystemClock()), table_name("cloudflare_audit_logs"))) as warehouse:
        loaded(landed(folder / "history", made), warehouse)
    import duckdb

    with duckdb.connect(path) as database:
        database.execute(ACTIONS_VIEW)
    return path


def score(made: list[Action], pairs: list[tuple[str, str]]) -> Score:
    """Compares the pairs of the view with those that were made."""
    true = {(record_id(one.v1), record_id(one.v2)) for one in made if one.v1 is not None and one.v2 is not None}
    return Score(len(true), len(pairs), len(true & set(pairs)))


def table() -> str:
    """Returns the table of the page."""
    import duckdb

    lines = ["| the two records of an action | pairs | precision | recall |", "|---|---|---|---|"]
    for name, faults in CASES.items():
        made = actions(COUNT, SEED, faults)
        with tempfile.TemporaryDirectory() as folder, duckdb.connect(in_duckdb(Path(folder), made)) as database:
            found = score(made, database.execute(PAIRS).fetchall())
        lines.append(f"| {name} | {found.true_count:,} | {found.precision:.1%} | {found.recall:.1%} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
