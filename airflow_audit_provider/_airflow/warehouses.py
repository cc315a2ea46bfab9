"""Warehouses of operators: a connection or a path → a warehouse.

Knows: Airflow's connections and hooks, and which of them are databases that can be loaded.
Must not know: what is loaded.
Its one rule: what cannot be loaded into is a ``ConfigurationError`` with the mend, before anything is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

from airflow_audit_provider.adapters.clock import SystemClock
from airflow_audit_provider.adapters.warehouses.duckdb import open_duckdb
from airflow_audit_provider.adapters.warehouses.iceberg import IcebergWarehouse, open_iceberg
from airflow_audit_provider.adapters.warehouses.postgres import PostgresSession
from airflow_audit_provider.adapters.warehouses.sql import SqlSession, SqlWarehouse, table_name
from airflow_audit_provider.exceptions import ConfigurationError


def open_sql_warehouse(conn_id: str | None, duckdb_path: str | None, table: str) -> SqlWarehouse:
    """Return the table in the connection's database, or in a DuckDB file."""
    name = table_name(table)
    if bool(conn_id) == bool(duckdb_path):
        raise ConfigurationError("Give conn_id, or duckdb_path for a DuckDB file; one of the two.")
    session = open_duckdb(duckdb_path, SystemClock()) if duckdb_path else _session(str(conn_id))
    return SqlWarehouse(session, name)


def _session(conn_id: str) -> SqlSession:
    connection = _connection(conn_id)
    if connection.conn_type == "duckdb":
        if not connection.host:
            raise ConfigurationError(f"The connection {conn_id!r} names no file. Put the DuckDB file's path into host.")
        return open_duckdb(connection.host, SystemClock(), connection.extra_dejson.get("memory_limit"))
    if connection.conn_type != "postgres":
        raise ConfigurationError(
            f"The connection {conn_id!r} is of type {connection.conn_type!r}. Give one of type postgres or duckdb; for "
            "other databases see the documentation, page Warehouses."
        )
    return PostgresSession(BaseHook.get_hook(conn_id).get_conn())


def open_iceberg_warehouse(
    conn_id: str | None, catalog_properties: Mapping[str, str] | None, warehouse: str | None, table: str
) -> IcebergWarehouse:
    """Return the table in a catalog: the connection's, with properties on top, or one in a file in the warehouse."""
    properties = {**(_catalog_of(_connection(conn_id)) if conn_id else {}), **(catalog_properties or {})}
    if warehouse:
        properties["warehouse"] = warehouse
    if not conn_id and not catalog_properties:
        properties |= _embedded_catalog(warehouse)
    name = properties.pop("name", "default")
    return IcebergWarehouse(open_iceberg(properties, name), table, SystemClock())


def _catalog_of(connection: Any) -> dict[str, str]:
    """Return a connection as catalog properties: the extra as it stands, host as the URI, login as the credential."""
    properties = {name: str(value) for name, value in connection.extra_dejson.items()}
    if connection.host:
        properties.setdefault("uri", connection.host)
    if connection.login and connection.password:
        properties.setdefault("credential", f"{connection.login}:{connection.password}")
    return properties


def _embedded_catalog(warehouse: str | None) -> dict[str, str]:
    """Return a SQL catalog in an SQLite file inside a local warehouse folder, which is made."""
    parts = urlsplit(warehouse or "")
    if parts.scheme not in {"", "file"} or not parts.path.startswith("/"):
        raise ConfigurationError(
            f"The warehouse {warehouse!r} is no local folder, and there is no catalog for it. Give an absolute folder, "
            "or catalog_conn_id or catalog_properties."
        )
    Path(parts.path).mkdir(parents=True, exist_ok=True)
    return {"type": "sql", "uri": f"sqlite:///{parts.path}/catalog.db", "warehouse": f"file://{parts.path}"}


def _connection(conn_id: str) -> Any:
    try:
        return BaseHook.get_connection(conn_id)
    except AirflowNotFoundException as error:
        raise ConfigurationError(f"There is no connection {conn_id!r}. Make it, or check the id.") from error
