"""Loads targets in each kind of warehouse, and their rows, read back without the package.

Rows are read by the warehouse's own library, sorted, as plain values.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import duckdb
import psycopg
import psycopg2
from pyiceberg.catalog import load_catalog

from airflow_audit_provider.adapters.clock import SystemClock
from airflow_audit_provider.adapters.warehouses.clickhouse import open_clickhouse
from airflow_audit_provider.adapters.warehouses.clickhouse_http import ClickHouseServer
from airflow_audit_provider.adapters.warehouses.delta import open_delta
from airflow_audit_provider.adapters.warehouses.duckdb import open_duckdb
from airflow_audit_provider.adapters.warehouses.iceberg import IcebergWarehouse, open_iceberg
from airflow_audit_provider.adapters.warehouses.postgres import PostgresSession
from airflow_audit_provider.adapters.warehouses.sql import SqlWarehouse, table_name
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.warehouse.port import Warehouse
from airflow_audit_provider.pipelines.load import LoadOutcome, LoadSpec, load_committed
from tests.pipelines.load.clickhouse_server import LOGIN, PASSWORD, query
from tests.pipelines.load.delta_tables import delta_rows

KINDS = ("duckdb", "psycopg", "psycopg2", "iceberg", "delta")
_DRIVERS: dict[str, Any] = {"psycopg": psycopg, "psycopg2": psycopg2}
DESTINATION = "s3://audit/cloudflare"
Row = tuple[Any, ...]


class LoadTarget(NamedTuple):
    """A table in a warehouse.

    ``address`` is a DuckDB file, a PostgreSQL address, an Iceberg folder, the folder above a Delta table, or the URL of
    ClickHouse.
    """

    kind: str
    address: str
    table: str

    def open(self, memory_limit: str | None = None) -> Warehouse:
        """Opens it as the operators do, without Airflow; the limit is DuckDB's."""
        if self.kind == "clickhouse":
            server = ClickHouseServer(self.address, LOGIN, PASSWORD)
            return open_clickhouse(server, table_name(self.table), SystemClock())
        if self.kind == "delta":
            return open_delta(self.delta_uri, {}, SystemClock())
        if self.kind == "iceberg":
            return IcebergWarehouse(open_iceberg(self._catalog, "default"), self.table, SystemClock())
        if self.kind == "duckdb":
            return SqlWarehouse(open_duckdb(self.address, SystemClock(), memory_limit), table_name(self.table))
        session = PostgresSession(_DRIVERS[self.kind].connect(self.address))
        return SqlWarehouse(session, table_name(self.table))

    def load(
        self, store: Store, dataset: str = "d", destination: str = DESTINATION, now: datetime | None = None
    ) -> LoadOutcome:
        """Loads all pending windows, as the operators do."""
        spec = LoadSpec(dataset, destination, now=now or SystemClock().now())
        with closing(self.open()) as warehouse:
            return load_committed(spec, store, warehouse, lambda _: None)

    @property
    def _catalog(self) -> dict[str, str]:
        return {"type": "sql", "uri": f"sqlite:///{self.address}/catalog.db", "warehouse": f"file://{self.address}"}

    def iceberg_table(self) -> Any:
        """Returns pyiceberg's table."""
        return load_catalog("default", **self._catalog).load_table(self.table)

    @property
    def delta_uri(self) -> str:
        """The folder of the Delta table."""
        return f"{self.address}/{self.table}"

    def delta_rows(self, *columns: str) -> list[Row]:
        """Returns rows of the Delta table, by a replay of its log and DuckDB, without deltalake."""
        return delta_rows(Path(self.delta_uri), columns)

    def query(self, statement: str) -> list[Row]:
        """Runs a statement in a SQL warehouse or in ClickHouse; returns its rows."""
        if self.kind == "clickhouse":
            return query(self.address, statement)
        with self._connection() as connection:
            cursor = connection.cursor()
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        if self.kind == "duckdb":
            with closing(duckdb.connect(self.address)) as connection:
                yield connection
        else:
            # At the end of the block psycopg 2 ends the transaction only, psycopg 3 the connection as well.
            with closing(_DRIVERS[self.kind].connect(self.address)) as connection, connection:
                yield connection

    def rows(self) -> list[Row]:
        """Returns every row with all columns, sorted."""
        if self.kind == "delta":
            rows = self.delta_rows()
        elif self.kind == "iceberg":
            rows = [tuple(row.values()) for row in self.iceberg_table().scan().to_arrow().to_pylist()]
        else:
            rows = self.query(f"select * from {self.table}")
        return sorted(rows, key=repr)

    def ids(self) -> list[str]:
        """Returns the id of every row, sorted, with duplicates."""
        if self.kind == "delta":
            return sorted(str(row[0]) for row in self.delta_rows("id"))
        if self.kind == "iceberg":
            return sorted(self.iceberg_table().scan(selected_fields=("id",)).to_arrow()["id"].to_pylist())
        return [str(row[0]) for row in self.query(f"select id from {self.table} order by id")]

    def keyed_ids(self) -> list[tuple[datetime, str]]:
        """Returns window start and id of every row."""
        if self.kind == "delta":
            return [(start, record_id) for start, record_id in self.delta_rows("window_start", "id")]
        if self.kind == "iceberg":
            columns = ("window_start", "id")
            found = self.iceberg_table().scan(selected_fields=columns).to_arrow().select(columns).to_pylist()
            return [(row["window_start"], row["id"]) for row in found]
        if self.kind == "clickhouse":
            rows = self.query(f"select toUnixTimestamp(window_start), id from {self.table}")
            return [(datetime.fromtimestamp(start, UTC), record_id) for start, record_id in rows]
        return [
            (start, str(record_id)) for start, record_id in self.query(f"select window_start, id from {self.table}")
        ]

    def digest(self) -> str:
        """Returns one digest over all rows."""
        total = hashlib.sha256()
        for row in self.rows():
            total.update(repr(tuple(_plain(value) for value in row)).encode())
        return total.hexdigest()

    def drop(self) -> None:
        """Drops the table and its load ledger."""
        if self.kind == "delta":
            shutil.rmtree(self.delta_uri)
        elif self.kind == "iceberg":
            load_catalog("default", **self._catalog).drop_table(self.table)
        elif self.kind == "clickhouse":
            for name in (self.table, f"{self.table}_rows", f"{self.table}_loads", f"{self.table}_positions"):
                self.query(f"drop table {name} sync")
        else:
            self.query(f"drop table {self.table}")
            self.query(f"drop table {self.table}_loads")


def _plain(value: Any) -> Any:
    """Returns a datetime as a timestamp, because drivers differ in the time zone object; others unchanged."""
    return value.timestamp() if hasattr(value, "timestamp") else value


def new_target(
    kind: str, folder: Path, postgres: Callable[[], dict[str, Any]], clickhouse: Callable[[], str] = str
) -> LoadTarget:
    """Returns an empty target of a kind; ``postgres`` and ``clickhouse`` are called only if they are needed."""
    if kind == "clickhouse":
        return LoadTarget(kind, clickhouse(), f"default.audit_{uuid4().hex[:12]}")
    if kind == "duckdb":
        return LoadTarget(kind, str(folder / "audit.duckdb"), "audit")
    if kind == "delta":
        return LoadTarget(kind, str(folder), "delta-table")
    if kind == "iceberg":
        return LoadTarget(kind, str(folder), "audit.records")
    address = " ".join(f"{name}={value}" for name, value in postgres().items())
    return LoadTarget(kind, address, f"audit_{uuid4().hex[:12]}")
