"""SQL in the pages of warehouses that no test can reach, run by DuckDB as far as its SQL allows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import duckdb
import pytest

from airflow_audit_provider.adapters.storage.local_store import LocalStore
from airflow_audit_provider.formats.part_format import part_format
from tests.architecture.source_files import PROJECT
from tests.pipelines.verify.dataset import commit, record, records_in, window

PAGES = PROJECT / "docs" / "warehouses"
_DAY = {
    "{{ data_interval_start | ts }}": window().start.isoformat(),
    "{{ data_interval_end | ts }}": window().end.isoformat(),
}


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    """The parts of a day of five records and one late record."""
    store = LocalStore(str(tmp_path))
    normalized = part_format("parquet", schema="normalized")
    commit(store, window(), records_in(window(), 5), format_=normalized)
    manifest = commit(store, window(), [record(window().start, "late")], format_=normalized)
    return [tmp_path / part.key for part in manifest.parts]


def _ids(database: Any, table: str) -> list[str]:
    return [row[0] for row in database.execute(f"SELECT id FROM {table} ORDER BY id").fetchall()]


@pytest.mark.integration
def test_snowflake_transaction_replaces_a_day(parts: list[Path]) -> None:
    """The statements that replace a day do so twice with the same rows; DuckDB has another COPY of Parquet."""
    page = (PAGES / "snowflake.py").read_text(encoding="utf-8")
    found = re.search(r'REPLACE_DAY = """(.*?)"""', page, re.DOTALL)
    assert found is not None
    text = re.sub(r"{%.*?%}", "", found[1])
    for template, value in _DAY.items():
        text = text.replace(template, value)
    with duckdb.connect() as database:
        database.execute(
            "CREATE TABLE cloudflare_audit_logs AS FROM read_parquet(?, hive_partitioning = false) LIMIT 0",
            [str(parts[0])],
        )
        for _ in range(2):
            for statement in filter(None, map(str.strip, text.split(";"))):
                if statement.startswith("copy into cloudflare_audit_logs from"):
                    for part in parts:
                        database.execute(f"COPY cloudflare_audit_logs FROM '{part}' (FORMAT parquet)")
                else:
                    database.execute(statement)
            assert _ids(database, "cloudflare_audit_logs") == ["late", "r0", "r1", "r2", "r3", "r4"]
