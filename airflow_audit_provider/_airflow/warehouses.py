"""Opens the warehouse of a load operator from an Airflow connection or a path.

Invariant: a warehouse that cannot be loaded is a ``ConfigurationError`` before any part is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import BaseHook

from airflow_audit_provider._airflow.connection import extra_text, get_connection
from airflow_audit_provider.adapters.clock import SystemClock
from airflow_audit_provider.adapters.storage.uris import split_uri, without_login
from airflow_audit_provider.adapters.warehouses.clickhouse import ClickHouseWarehouse, open_clickhouse
from airflow_audit_provider.adapters.warehouses.clickhouse_http import ClickHouseServer
from airflow_audit_provider.adapters.warehouses.delta import DeltaWarehouse, open_delta
from airflow_audit_provider.adapters.warehouses.duckdb import open_duckdb
from airflow_audit_provider.adapters.warehouses.iceberg import IcebergWarehouse, open_iceberg
from airflow_audit_provider.adapters.warehouses.postgres import PostgresSession
from airflow_audit_provider.adapters.warehouses.postgres_errors import connection_error
from airflow_audit_provider.adapters.warehouses.sql import SqlSession, SqlWarehouse, table_name
from airflow_audit_provider.exceptions import ConfigurationError

_MEMORY_LIMIT = "memory_limit"
# The port of ClickHouse's HTTP interface, by whether it is encrypted.
_CLICKHOUSE_PORTS = {False: 8123, True: 8443}


def open_sql_warehouse(conn_id: str | None, duckdb_path: str | None, table: str) -> SqlWarehouse:
    """Returns the table in the connection's database, or in a DuckDB file."""
    name = table_name(table)
    if bool(conn_id) == bool(duckdb_path):
        raise ConfigurationError("Both conn_id and duckdb_path are set, or neither. Set exactly one of them.")
    session = open_duckdb(duckdb_path, SystemClock()) if duckdb_path else _session(str(conn_id))
    return SqlWarehouse(session, name)


def _session(conn_id: str) -> SqlSession:
    connection = get_connection(conn_id, "Create it with type postgres or duckdb, or correct conn_id.")
    _extra(conn_id, connection)
    if connection.conn_type == "duckdb":
        if not connection.host:
            raise ConfigurationError(
                f"Connection {conn_id!r} has no host. Set its host to the path of the DuckDB file."
            )
        return open_duckdb(connection.host, SystemClock(), _memory_limit(conn_id, connection))
    if connection.conn_type != "postgres":
        raise ConfigurationError(
            f"Connection {conn_id!r} has the type {connection.conn_type!r}, which cannot be loaded. Use one of "
            "type postgres or duckdb; for other databases see the documentation, page Warehouses."
        )
    return PostgresSession(_postgres_connection(conn_id))


def _postgres_connection(conn_id: str) -> Any:
    """Returns an open connection of the postgres provider's hook."""
    try:
        return BaseHook.get_hook(conn_id).get_conn()
    except Exception as error:
        # The hook raises errors of the driver, of other providers for their logins, and plain ones for its own extras.
        raise connection_error(conn_id, error) from error


def _extra(conn_id: str, connection: Any) -> Mapping[str, Any]:
    """Returns a connection's extra; raises ``ConfigurationError`` unless it is an object or empty."""
    extra = connection.extra_dejson
    if not isinstance(extra, Mapping):
        raise ConfigurationError(
            f"The extra of connection {conn_id!r} is JSON, but not an object. Write it as an object of names and "
            "values."
        )
    return extra


def _memory_limit(conn_id: str, connection: Any) -> str | None:
    """Returns DuckDB's memory limit in a connection's extra; raises ``ConfigurationError`` for anything else in it."""
    unknown = sorted(set(_extra(conn_id, connection)) - {_MEMORY_LIMIT})
    if unknown:
        raise ConfigurationError(
            f"Connection {conn_id!r} has {', '.join(map(repr, unknown))} in its extra. Only memory_limit is read, with "
            'a unit, such as {"memory_limit": "1GB"}. Correct or remove the others.'
        )
    return extra_text(conn_id, connection, _MEMORY_LIMIT) or None


def open_iceberg_warehouse(
    conn_id: str | None, catalog_properties: Mapping[str, str] | None, warehouse: str | None, table: str
) -> IcebergWarehouse:
    """Returns the table in a catalog: the connection's with the properties on top, or one in the warehouse folder."""
    if not isinstance(catalog_properties or {}, Mapping):
        raise ConfigurationError(
            f"catalog_properties is a {type(catalog_properties).__name__}. Give a dict of the names and values of the "
            "catalog's properties, not its text."
        )
    properties = {**(_catalog_in(conn_id) if conn_id else {}), **(catalog_properties or {})}
    if warehouse:
        properties["warehouse"] = warehouse
    if not conn_id and not catalog_properties:
        properties |= _embedded_catalog(warehouse)
    name = properties.pop("name", "default")
    return IcebergWarehouse(open_iceberg(properties, name), table, SystemClock())


def _catalog_in(conn_id: str) -> dict[str, Any]:
    """Returns a connection's catalog properties: its extra, the host as URI, login and password as credential.

    A password without a login is the token.
    """
    connection = get_connection(
        conn_id, "Create it with the catalog's properties as extra, or correct catalog_conn_id."
    )
    extra = _extra(conn_id, connection)
    # Some properties are objects, such as auth and ssl of a REST catalog; null is the same as none.
    properties = {
        name: value if isinstance(value, Mapping) else str(value) for name, value in extra.items() if value is not None
    }
    if connection.host:
        properties.setdefault("uri", connection.host)
    if connection.login and connection.password:
        properties.setdefault("credential", f"{connection.login}:{connection.password}")
    elif connection.password:
        properties.setdefault("token", connection.password)
    return properties


def _embedded_catalog(warehouse: str | None) -> dict[str, str]:
    """Returns an SQL catalog in an SQLite file inside a local warehouse folder; creates the folder."""
    parts = split_uri(warehouse or "", "warehouse")
    if parts.scheme != "file" or parts.netloc or not parts.path.startswith("/"):
        raise ConfigurationError(
            f"The warehouse {warehouse!r} is not an absolute local folder, and no catalog is configured for it. Set "
            "warehouse to an absolute folder, or set catalog_conn_id or catalog_properties."
        )
    try:
        Path(parts.path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"The warehouse folder {parts.path!r} cannot be created ({error}). Create it with rights for the worker's "
            "user, or correct warehouse."
        ) from error
    return {"type": "sql", "uri": f"sqlite:///{parts.path}/catalog.db", "warehouse": f"file://{parts.path}"}


def open_delta_warehouse(table: str, conn_id: str | None, storage_options: Mapping[str, str] | None) -> DeltaWarehouse:
    """Returns the Delta table in a folder or bucket: the connection's storage options with those given on top."""
    parts = split_uri(table, "table")
    is_local = parts.scheme == "file"
    if not parts.path.strip("/") or (is_local and (parts.netloc or not parts.path.startswith("/"))):
        raise ConfigurationError(
            f"The table {without_login(table)!r} is neither an absolute folder nor a folder in a bucket. Set it to "
            "the location of a Delta table, such as s3://bucket/folder/cloudflare_audit_logs."
        )
    if "@" in parts.netloc and parts.scheme not in {"abfs", "abfss"}:
        raise ConfigurationError(
            f"The table {without_login(table)!r} names a user before the @. Set it to the URI without one, and "
            "table_conn_id to the connection."
        )
    if not isinstance(storage_options or {}, Mapping):
        raise ConfigurationError(
            f"storage_options is a {type(storage_options).__name__}. Give a dict of deltalake's storage options."
        )
    options = {**(_storage_options_in(conn_id) if conn_id else {}), **(storage_options or {})}
    uri = parts.path.rstrip("/") if is_local else table.rstrip("/")
    return open_delta(uri, {name: str(value) for name, value in options.items()}, SystemClock())


def _storage_options_in(conn_id: str) -> dict[str, str]:
    """Returns a connection's storage options: of type aws by its hook, of any other type the extra as it is."""
    connection = get_connection(
        conn_id, "Create it with deltalake's storage options as extra, or correct table_conn_id."
    )
    extra = _extra(conn_id, connection)
    if connection.conn_type == "aws":
        return _aws_options(conn_id)
    nested = sorted(name for name, value in extra.items() if isinstance(value, Mapping | list))
    if nested:
        raise ConfigurationError(
            f"Connection {conn_id!r} has {', '.join(map(repr, nested))} in its extra, which are not text. Write "
            "deltalake's storage options as text."
        )
    return {name: str(value) for name, value in extra.items() if value is not None}


def _aws_options(conn_id: str) -> dict[str, str]:
    """Returns the storage options of a connection of type aws: the session's credentials, region and endpoint."""
    try:
        from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
    except ImportError as error:
        raise ConfigurationError(
            f"Connection {conn_id!r} has the type aws, which needs Airflow's Amazon provider. Run: pip install "
            "'airflow-audit-provider[s3]'."
        ) from error
    hook: Any = AwsBaseHook(aws_conn_id=conn_id, client_type="s3")
    credentials, endpoint = hook.get_credentials(), hook.conn_config.get_service_endpoint_url("s3")
    found = {
        "AWS_ACCESS_KEY_ID": credentials.access_key,
        "AWS_SECRET_ACCESS_KEY": credentials.secret_key,
        "AWS_SESSION_TOKEN": credentials.token,
        "AWS_REGION": hook.region_name,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ALLOW_HTTP": "true" if str(endpoint).startswith("http://") else None,
    }
    return {name: value for name, value in found.items() if value}


def open_clickhouse_warehouse(conn_id: str, table: str) -> ClickHouseWarehouse:
    """Returns the table on the connection's server, in the database of the table's name or of the connection."""
    name = table_name(table)
    connection = get_connection(conn_id, "Create it with type clickhouse or generic, or correct clickhouse_conn_id.")
    if connection.conn_type not in {"clickhouse", "generic"}:
        raise ConfigurationError(
            f"Connection {conn_id!r} has the type {connection.conn_type!r}. Use one of type clickhouse, or of type "
            "generic with host, port, login, password and schema of ClickHouse's HTTP interface."
        )
    host = (connection.host or "").strip()
    if not host or "/" in host or "@" in host or host.count(":") == 1:
        raise ConfigurationError(
            f"Connection {conn_id!r} has no host, or one that is not a name. Set its host to the name of the "
            "ClickHouse server without https://, and the extra 'secure' to true for TLS."
        )
    extra = {"secure": False, "verify": True, **_extra(conn_id, connection)}
    is_secure, is_verified = _flag(conn_id, extra, "secure"), _flag(conn_id, extra, "verify")
    scheme, port = "https" if is_secure else "http", connection.port or _CLICKHOUSE_PORTS[is_secure]
    url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
    server = ClickHouseServer(url, connection.login or "default", connection.password or "", is_verified)
    database = name.schema or connection.schema or "default"
    return open_clickhouse(server, table_name(f"{database}.{name.table}"), SystemClock())


def _flag(conn_id: str, extra: Mapping[str, Any], name: str) -> bool:
    """Returns a switch in a connection's extra; raises ``ConfigurationError`` for anything but true and false."""
    value = extra[name]
    if not isinstance(value, bool):
        raise ConfigurationError(
            f"Connection {conn_id!r} has {value!r} as {name!r} in its extra. Write true or false, without quotes."
        )
    return value
