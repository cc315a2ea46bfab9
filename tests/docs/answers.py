"""The four questions of the DuckDB example with their answers for two weeks of the fake, as the pages show them.

Invariant: the page shows what ran; `python -m tests.docs.answers` prints it again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow_audit_provider.adapters.clock import SystemClock
from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.adapters.warehouses.duckdb import open_duckdb
from airflow_audit_provider.adapters.warehouses.sql import SqlWarehouse, table_name
from airflow_audit_provider.pipelines.load import LoadSpec, load_committed
from airflow_audit_provider.testing.clock import ManualClock
from dags.cloudflare_audit_duckdb import QUESTIONS, answers
from demo.chart import bars
from tests.pipelines.pull.landing import fake_with, land, pull_spec, reader_of

__all__ = ["QUESTIONS", "answers", "blocks", "landed", "loaded"]
END = datetime(2026, 11, 2, tzinfo=UTC)
DAY_COUNT = 14
WIDTH = 78


def blocks() -> Iterator[tuple[str, str, str]]:
    """Yields each question with its SQL and its answer as bars: all actions, and in brackets the failed ones."""
    with tempfile.TemporaryDirectory() as folder:
        found = answers(loaded(Path(folder)))
    for question, rows in found.items():
        width = max((len(str(row[0])) for row in rows), default=0)
        lines = bars({str(name).ljust(width): (done, failed) for name, done, failed in rows}, width=WIDTH)
        yield question, QUESTIONS[question].strip(), "\n".join(line.plain.rstrip() for line in lines)


def landed(folder: Path) -> LocalStore:
    """Lands two weeks; days that landed before are skipped."""
    clock, store = ManualClock(), LocalStore(str(folder / "landed"))
    reader = reader_of(fake_with(clock, records_per_day=200), clock)
    for back in range(DAY_COUNT, 0, -1):
        land(pull_spec(start=END - timedelta(days=back), end=END - timedelta(days=back - 1)), reader, store)
    return store


def loaded(folder: Path) -> str:
    """Lands and loads two weeks; returns the DuckDB file."""
    path = str(folder / "audit.duckdb")
    with closing(SqlWarehouse(open_duckdb(path, SystemClock()), table_name("cloudflare_audit_logs"))) as warehouse:
        load_committed(LoadSpec("fake", "file:///fake"), landed(folder), warehouse, lambda _: None)
    return path


if __name__ == "__main__":
    for question, query, answer in blocks():
        print(f"## {question}\n\n```sql\n{query}\n```\n\n```text\n{answer}\n```\n")
