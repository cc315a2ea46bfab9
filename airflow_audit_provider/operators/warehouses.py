"""Operators that load committed windows into a warehouse: a SQL database, Iceberg, Delta or ClickHouse.

They translate a task into a ``LoadSpec``, and the outcome into an XCom. Modules that only a run needs are imported
where they are used, because DAG files import this module.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_audit_provider._airflow.destinations import check_destination, dataset_uri
from airflow_audit_provider._airflow.task_errors import translate_task_errors
from airflow_audit_provider.assets.audit_logs import audit_log_asset
from airflow_audit_provider.core.limits import DEFAULT_PARTITION_KEY_FORMAT, check_length
from airflow_audit_provider.exceptions import ConfigurationError
from airflow_audit_provider.links.audit_logs import CoverageLink

if TYPE_CHECKING:
    from airflow_audit_provider.core.ports import Store
    from airflow_audit_provider.core.warehouse.port import Warehouse
    from airflow_audit_provider.core.windows.window import TimeWindow
    from airflow_audit_provider.pipelines.load import LoadedWindow, LoadOutcome

_CHOICES = ("pending", "events", "run")


class _LoadOperator(BaseOperator):
    """Common part of the load operators: which windows of which destination to load."""

    template_fields: Sequence[str] = (
        "destination",
        "destination_conn_id",
        "table",
        "dataset",
        "window_start",
        "window_end",
    )
    ui_color = "#cfe2f3"
    operator_extra_links = (CoverageLink(),)
    # What the link leads to: a destination, and the window of it if the task has loaded exactly one.
    covered: tuple[str, TimeWindow | None] | None = None

    def __init__(
        self,
        *,
        destination: str,
        destination_conn_id: str | None = None,
        table: str,
        dataset: str | None = None,
        windows: str = "pending",
        window_start: datetime | date | str | None = None,
        window_end: datetime | date | str | None = None,
        window_length: timedelta | None = None,
        timezone: str = "UTC",
        partition_key_format: str = DEFAULT_PARTITION_KEY_FORMAT,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.destination = destination
        self.destination_conn_id = destination_conn_id
        self.table = table
        self.dataset = dataset
        self.windows = windows
        self.window_start = window_start
        self.window_end = window_end
        self.window_length = window_length
        self.timezone = timezone
        self.partition_key_format = partition_key_format
        if windows not in _CHOICES:
            raise ConfigurationError(f"windows is {windows!r}. Give one of {', '.join(map(repr, _CHOICES))}.")
        check_length("window_length", window_length)
        check_destination(destination)

    @abstractmethod
    def open_warehouse(self) -> Warehouse:
        """Returns the warehouse to load."""

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Loads windows that are committed and not loaded yet; returns the summary."""
        with translate_task_errors(self):
            outcome = self._load(context)
        from airflow_audit_provider._airflow.observability.log_lines import load_line

        self.log.info("%s", load_line(outcome, self.table))
        return outcome.summary()

    def _load(self, context: Mapping[str, Any]) -> LoadOutcome:
        from airflow_audit_provider._airflow.destinations import store_from_connection
        from airflow_audit_provider.adapters.clock import SystemClock
        from airflow_audit_provider.pipelines.load import LoadSpec, load_committed
        from airflow_audit_provider.pipelines.stitched_load import load_stitched
        from airflow_audit_provider.pipelines.stitching import held_stitching

        uri = dataset_uri(self.destination)
        self.covered = (uri, None)
        windows, is_exact = self._windows(context), self._is_exact(context)
        spec = LoadSpec(self.dataset or uri, uri, windows, is_exact=is_exact, now=SystemClock().now())
        store = store_from_connection(self.destination, self.destination_conn_id)
        stitching = held_stitching(store)
        with closing(self.open_warehouse()) as warehouse:
            if stitching is None:
                outcome = load_committed(spec, store, warehouse, self._log_window)
                self.covered = (uri, outcome.loaded[0].window if len(outcome.loaded) == 1 else None)
                return outcome
            return load_stitched(spec, stitching, self._open_stream, warehouse, self._log_window)

    def _open_stream(self, version: str) -> Store:
        """Returns the store of a version of a stitched history."""
        from airflow_audit_provider._airflow.destinations import store_from_connection

        return store_from_connection(f"{self.destination.rstrip('/')}/{version}", self.destination_conn_id)

    def _windows(self, context: Mapping[str, Any]) -> tuple[TimeWindow, ...] | None:
        """Returns the windows that this run must load, None for all that are not loaded yet."""
        from airflow_audit_provider._airflow.run_context import run_bounds
        from airflow_audit_provider.core.warehouse.load_plan import event_windows
        from airflow_audit_provider.core.windows.run_window import resolve_run_window

        if self.windows == "pending":
            return None
        if self.windows == "events":
            return event_windows(self._event_extras(context))
        bounds = run_bounds(
            context,
            window_start=self.window_start,
            window_end=self.window_end,
            window_length=self.window_length,
            timezone=self.timezone,
            partition_key_format=self.partition_key_format,
        )
        return (resolve_run_window(bounds).window,)

    def _is_exact(self, context: Mapping[str, Any]) -> bool:
        """Returns whether each requested window is one committed window; an event may be about many."""
        from airflow_audit_provider.core.warehouse.load_plan import are_single_windows

        return self.windows == "events" and are_single_windows(self._event_extras(context))

    def _event_extras(self, context: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        events = (context.get("triggering_asset_events") or {}).get(audit_log_asset(self.destination), ())
        return [event.extra for event in events]

    def _log_window(self, loaded: LoadedWindow) -> None:
        from airflow_audit_provider._airflow.observability.log_lines import loaded_window_line

        self.log.info("%s", loaded_window_line(loaded))


class CloudflareAuditLogsToSqlOperator(_LoadOperator):
    """Loads committed windows into a table of PostgreSQL or DuckDB, each exactly once.

    A window's rows and its entry in the load ledger, the table ``{table}_loads``, are one transaction. A newer
    generation replaces its window's rows; a loaded generation is not loaded again. Two loaders of the same window
    cannot both add its rows.

    :param destination: where the audit logs were written; of a stitched history, its root or the folder of one version.
        (templated)
    :param destination_conn_id: the connection of the destination's object store. (templated)
    :param conn_id: a connection of type ``postgres``, or of type ``duckdb`` with the file as its host and optionally
        ``memory_limit`` in its extra (default 256MB). (templated)
    :param duckdb_path: a DuckDB file instead of ``conn_id``; created if it does not exist. (templated)
    :param table: ``table`` or ``schema.table``; created if it does not exist, and new columns are added. (templated)
    :param dataset: name of the destination in the table; by default its URI. (templated)
    :param windows: ``pending`` for all windows that are committed and not loaded, ``events`` for the windows of the
        asset events that triggered the run, ``run`` for the windows that overlap the run's own window. With
        ``events`` and ``run``, the task loads the requested windows that are committed; while one of them is not
        committed, it fails and is retried.
    :param window_start: with ``run``, as in ``CloudflareAuditLogsToObjectStorageOperator``. (templated)
    :param window_end: with ``run``, as in the same operator. (templated)
    :param window_length: with ``run``, as in the same operator.
    :param timezone: with ``run``, as in the same operator.
    :param partition_key_format: with ``run``, as in the same operator.

    Returns a dict with ``loaded_count replaced_count unchanged_count record_count window_start window_end``. If a
    requested window is not committed, the task fails and is retried; if a window is damaged, it fails without retries.
    In both cases the other windows are loaded.
    """

    template_fields: Sequence[str] = (*_LoadOperator.template_fields, "conn_id", "duckdb_path")

    def __init__(
        self,
        *,
        conn_id: str | None = None,
        duckdb_path: str | None = None,
        table: str = "cloudflare_audit_logs",
        **kwargs: Any,
    ) -> None:
        super().__init__(table=table, **kwargs)
        self.conn_id = conn_id
        self.duckdb_path = duckdb_path

    def open_warehouse(self) -> Warehouse:
        """Returns the table in the database."""
        from airflow_audit_provider._airflow.warehouses import open_sql_warehouse

        return open_sql_warehouse(self.conn_id, self.duckdb_path, self.table)


class CloudflareAuditLogsToIcebergOperator(_LoadOperator):
    """Loads committed windows into an Apache Iceberg table, each exactly once, with one catalog commit per window.

    A commit replaces exactly its window's rows. The snapshot's summary holds the manifest's digest, and the table's
    properties hold the load ledger. Tasks may load different windows at the same time.

    :param destination: where the audit logs were written; of a stitched history, its root or the folder of one version.
        (templated)
    :param destination_conn_id: the connection of the destination's object store. (templated)
    :param catalog_conn_id: a connection whose extra holds the catalog's properties under pyiceberg's names; its host is
        the ``uri``, login and password are the ``credential``, and a password without a login is the ``token``.
        (templated)
    :param catalog_properties: the same properties as a dict; they take precedence over the connection's. (templated)
    :param warehouse: location of the tables. Without ``catalog_conn_id`` and ``catalog_properties``, an absolute
        local folder, in which an SQLite file is the catalog. (templated)
    :param table: ``namespace.table``; created if it does not exist, and new columns are added. (templated)
    :param dataset: name of the destination in the table; by default its URI. (templated)
    :param windows: ``pending``, ``events`` or ``run``, as in ``CloudflareAuditLogsToSqlOperator``.
    :param window_start: with ``run``, as in ``CloudflareAuditLogsToObjectStorageOperator``. (templated)
    :param window_end: with ``run``, as in the same operator. (templated)
    :param window_length: with ``run``, as in the same operator.
    :param timezone: with ``run``, as in the same operator.
    :param partition_key_format: with ``run``, as in the same operator.

    Returns a dict with ``loaded_count replaced_count unchanged_count record_count window_start window_end``. If a
    requested window is not committed, the task fails and is retried; if a window is damaged, it fails without retries.
    In both cases the other windows are loaded.
    """

    template_fields: Sequence[str] = (
        *_LoadOperator.template_fields,
        "catalog_conn_id",
        "catalog_properties",
        "warehouse",
    )

    def __init__(
        self,
        *,
        catalog_conn_id: str | None = None,
        catalog_properties: dict[str, str] | None = None,
        warehouse: str | None = None,
        table: str = "audit.cloudflare_audit_logs",
        **kwargs: Any,
    ) -> None:
        super().__init__(table=table, **kwargs)
        self.catalog_conn_id = catalog_conn_id
        self.catalog_properties = catalog_properties
        self.warehouse = warehouse

    def open_warehouse(self) -> Warehouse:
        """Returns the table in the catalog."""
        from airflow_audit_provider._airflow.warehouses import open_iceberg_warehouse

        return open_iceberg_warehouse(self.catalog_conn_id, self.catalog_properties, self.warehouse, self.table)


class CloudflareAuditLogsToDeltaOperator(_LoadOperator):
    """Loads committed windows into a Delta Lake table, each exactly once, with one Delta commit per window.

    A commit replaces the rows of its window only. Its application transactions are the load ledger, and its commit info
    has the digest of the manifest. Tasks may load different windows at the same time.

    :param destination: where the audit logs were written; of a stitched history, its root or the folder of one version.
        (templated)
    :param destination_conn_id: the connection of the destination's object store. (templated)
    :param table: the table's folder: ``s3://bucket/folder`` or another URI that deltalake opens, or an absolute local
        folder. Created if there is no table, and new columns are added. (templated)
    :param table_conn_id: a connection of type ``aws``, or of any other type whose extra holds deltalake's storage
        options. Without it, deltalake reads the environment variables of the store. (templated)
    :param storage_options: the same options as a dict; they take precedence over the connection's. (templated)
    :param dataset: name of the destination in the table; by default its URI. (templated)
    :param windows: ``pending``, ``events`` or ``run``, as in ``CloudflareAuditLogsToSqlOperator``.
    :param window_start: with ``run``, as in ``CloudflareAuditLogsToObjectStorageOperator``. (templated)
    :param window_end: with ``run``, as in the same operator. (templated)
    :param window_length: with ``run``, as in the same operator.
    :param timezone: with ``run``, as in the same operator.
    :param partition_key_format: with ``run``, as in the same operator.

    Returns a dict with ``loaded_count replaced_count unchanged_count record_count window_start window_end``. If a
    requested window is not committed, the task fails and is retried; if a window is damaged, it fails without retries.
    In both cases the other windows are loaded.
    """

    template_fields: Sequence[str] = (*_LoadOperator.template_fields, "table_conn_id", "storage_options")

    def __init__(
        self,
        *,
        table_conn_id: str | None = None,
        storage_options: dict[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.table_conn_id = table_conn_id
        self.storage_options = storage_options

    def open_warehouse(self) -> Warehouse:
        """Returns the table in its folder."""
        from airflow_audit_provider._airflow.warehouses import open_delta_warehouse

        return open_delta_warehouse(self.table, self.table_conn_id, self.storage_options)


class CloudflareAuditLogsToClickHouseOperator(_LoadOperator):
    """Loads committed windows into ClickHouse, each exactly once; a view shows what is loaded.

    Rows are in the table ``{table}_rows``, the load ledger is the table ``{table}_loads``, and ``{table}`` is a view of
    the rows that the ledger lists. One row in the ledger shows all rows of a window and hides those that they replace.

    :param destination: where the audit logs were written; of a stitched history, its root or the folder of one version.
        (templated)
    :param destination_conn_id: the connection of the destination's object store. (templated)
    :param clickhouse_conn_id: a connection of type ``clickhouse`` or ``generic``: host, port, login, password, the
        database as its schema, and optionally ``secure`` and ``verify`` in its extra. (templated)
    :param table: ``table`` or ``database.table``; view and tables are created if they do not exist, and new columns
        are added. (templated)
    :param dataset: name of the destination in the table; by default its URI. (templated)
    :param windows: ``pending``, ``events`` or ``run``, as in ``CloudflareAuditLogsToSqlOperator``.
    :param window_start: with ``run``, as in ``CloudflareAuditLogsToObjectStorageOperator``. (templated)
    :param window_end: with ``run``, as in the same operator. (templated)
    :param window_length: with ``run``, as in the same operator.
    :param timezone: with ``run``, as in the same operator.
    :param partition_key_format: with ``run``, as in the same operator.

    Returns a dict with ``loaded_count replaced_count unchanged_count record_count window_start window_end``. If a
    requested window is not committed, the task fails and is retried; if a window is damaged, it fails without retries.
    In both cases the other windows are loaded.
    """

    template_fields: Sequence[str] = (*_LoadOperator.template_fields, "clickhouse_conn_id")

    def __init__(
        self,
        *,
        clickhouse_conn_id: str = "clickhouse_default",
        table: str = "cloudflare_audit_logs",
        **kwargs: Any,
    ) -> None:
        super().__init__(table=table, **kwargs)
        self.clickhouse_conn_id = clickhouse_conn_id

    def open_warehouse(self) -> Warehouse:
        """Returns the view and its tables on the server."""
        from airflow_audit_provider._airflow.warehouses import open_clickhouse_warehouse

        return open_clickhouse_warehouse(self.clickhouse_conn_id, self.table)
