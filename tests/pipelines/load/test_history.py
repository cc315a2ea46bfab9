"""All days of the retention period: loading them twice gives the same rows."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.testing.clock import ManualClock
from tests.pipelines.load.warehouses import LoadTarget
from tests.pipelines.pull.landing import fake_with, land, pull_spec, reader_of, true_ids

DAY_COUNT = int(os.environ.get("HISTORY_DAYS", "540"))
RECORDS_PER_DAY = 5
END = datetime(2026, 11, 2, tzinfo=UTC)
DAYS = [TimeWindow(END - timedelta(days=back), END - timedelta(days=back - 1)) for back in range(DAY_COUNT, 0, -1)]


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> tuple[LocalStore, list[str]]:
    """A destination with every day as Parquet, landed by the pipeline from the fake, and all record ids."""
    clock = ManualClock()
    fake = fake_with(clock, records_per_day=RECORDS_PER_DAY, requests_per_window=None)
    store = LocalStore(str(tmp_path_factory.mktemp("history")))
    reader = reader_of(fake, clock)
    for day in DAYS:
        land(pull_spec(start=day.start, end=day.end, file_format="parquet", compression="zstd"), reader, store)
    return store, true_ids(fake, start=DAYS[0].start, end=END)


@pytest.mark.nightly
@pytest.mark.parametrize("target", ["duckdb", "psycopg", "iceberg", "delta", "clickhouse"], indirect=True)
def test_history_loaded_twice_is_the_same(
    target: LoadTarget, history: tuple[LocalStore, list[str]], tmp_path: Path
) -> None:
    """540 days that are loaded, dropped and loaded again have the same digest of all rows, and each record once."""
    store, ids = history
    assert len(target.load(store).loaded) == DAY_COUNT
    assert target.ids() == ids
    digest = target.digest()
    target.drop()
    outcome = target.load(store)
    assert (outcome.record_count, outcome.unchanged_count) == (len(ids), 0)
    assert target.digest() == digest
