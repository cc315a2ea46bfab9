"""The warehouse examples load one past day in a real Airflow, and the warehouses have the landed records."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import duckdb
import psycopg
import pytest
from deltalake import DeltaTable
from pyiceberg.catalog import load_catalog

from airflow_audit_provider.adapters.clock import SystemClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.server import FakeServer
from airflow_audit_provider.testing.settings import ACCOUNT_ID, TOKEN, Settings
from tests.architecture.source_files import PROJECT
from tests.pipelines.load.clickhouse_server import LOGIN, PASSWORD, clickhouse_server
from tests.pipelines.load.clickhouse_server import query as query_clickhouse
from tests.pipelines.load.postgres_server import postgres_server

PATIENCE_SECONDS = 900


def _airflow(home: Path, environment: dict[str, str], *words: str) -> str:
    """Runs one command of Airflow's own CLI; returns its output."""
    command = [sys.executable, "-m", "airflow", *words]
    answer = subprocess.run(
        command, cwd=home, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert answer.returncode == 0, answer.stdout[-4000:] + answer.stderr[-4000:]
    return answer.stdout


def _environment(home: Path, base_url: str) -> dict[str, str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("AIRFLOW", "AUDIT_"))}
    cloudflare = {"conn_type": "cloudflare", "password": TOKEN, "host": base_url, "extra": {"account_id": ACCOUNT_ID}}
    return {
        **kept,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW_CONN_CLOUDFLARE_DEFAULT": json.dumps(cloudflare),
        "AUDIT_DUCKDB_DESTINATION": f"file://{home}/landed",
        "AUDIT_DUCKDB": str(home / "audit.duckdb"),
        # PostgreSQL takes what the DuckDB example has landed.
        "AUDIT_DESTINATION": f"file://{home}/landed",
        "AUDIT_DELTA_DESTINATION": f"file://{home}/landed",
        "AUDIT_DELTA_TABLE": str(home / "delta"),
        "AUDIT_CLICKHOUSE_DESTINATION": f"file://{home}/landed",
        "AUDIT_ICEBERG_DESTINATION": f"file://{home}/iceberg-source",
        "AUDIT_ICEBERG_WAREHOUSE": str(home / "iceberg"),
        "PYTHONPATH": str(PROJECT),
        "NO_PROXY": "*",
    }


# Four commands of Airflow and two of its own databases: tests/pipelines/load loads into each warehouse before a merge.
@pytest.mark.nightly
@pytest.mark.live
def test_examples_fill_their_warehouses(tmp_path: Path) -> None:
    """After one day's runs all five warehouses have the same ids, each once, and the queries return answers."""
    fake = FakeCloudflare(SystemClock().now, Settings(records_per_day=300, even_days=True))
    with FakeServer(fake) as server, postgres_server() as postgres, clickhouse_server() as clickhouse:
        environment = _environment(tmp_path, server.base_url)
        fields = {"host": postgres["host"], "port": postgres["port"], "login": postgres["user"], "schema": "postgres"}
        environment["AIRFLOW_CONN_AUDIT_POSTGRES"] = json.dumps({"conn_type": "postgres", **fields})
        address = urlsplit(clickhouse)
        fields = {"host": address.hostname, "port": address.port, "login": LOGIN, "password": PASSWORD}
        environment["AIRFLOW_CONN_CLICKHOUSE_DEFAULT"] = json.dumps({"conn_type": "generic", **fields})
        _airflow(tmp_path, environment, "db", "migrate")
        _airflow(tmp_path, environment, "dags", "reserialize")
        # Not today: yesterday's window is not settled in the first minutes of a day.
        day = (SystemClock().now().date() - timedelta(days=1)).isoformat()
        printed = _airflow(tmp_path, environment, "dags", "test", "cloudflare_audit_duckdb", day)
        for name in ("iceberg", "postgres", "delta", "clickhouse"):
            _airflow(tmp_path, environment, "dags", "test", f"cloudflare_audit_{name}", day)
        query = "select id from cloudflare_audit_logs"
        with duckdb.connect(str(tmp_path / "audit.duckdb")) as database:
            in_duckdb = sorted(row[0] for row in database.execute(query).fetchall())
        with closing(psycopg.connect(**postgres)) as connection:
            in_postgres = sorted(row[0] for row in connection.execute(query).fetchall())
        in_clickhouse = sorted(row[0] for row in query_clickhouse(clickhouse, query))
    catalog = load_catalog("default", type="sql", uri=f"sqlite:///{tmp_path}/iceberg/catalog.db")
    in_iceberg = sorted(map(str, catalog.load_table("audit.cloudflare_audit_logs").scan().to_arrow()["id"].to_pylist()))
    in_delta = sorted(map(str, DeltaTable(str(tmp_path / "delta")).to_pyarrow_table()["id"].to_pylist()))
    assert len(set(in_duckdb)) == 300
    assert in_duckdb == in_postgres == in_iceberg == in_delta == in_clickhouse
    assert "Who changed DNS this week?" in printed
