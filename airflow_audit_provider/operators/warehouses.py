"""The operators that load what landed into a warehouse: a SQL database, or an Iceberg table.

Knows: Airflow's operators, asset events and contexts. Must not know: what is loaded already, SQL, snapshots.
Its one rule: it translates a task into a ``LoadSpec`` and an outcome into an XCom.

Parsing a DAG makes an operator and runs none: what only a run needs is imported where it is used.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_audit_provider._airflow.destinations import dataset_uri
from airflow_audit_provider._airflow.task_errors import translate_task_errors
from airflow_audit_provider.assets.audit_logs import audit_log_asset
from airflow_audit_provider.core.limits import DEFAULT_PARTITION_KEY_FORMAT, check_length
from airflow_audit_provider.exceptions import ConfigurationError

if TYPE_CHECKING:
    from airflow_audit_provider.core.warehouse.port import Warehouse
    from airflow_audit_provider.core.windows.window import TimeWindow
    from airflow_audit_provider.pipelines.load import LoadedWindow, LoadOutcome

_CHOICES = ("pending", "events", "run")


class _LoadOperator(BaseOperator):
    """What loading operators have in common: which windows of which destination."""

    template_fields: Sequence[str] = (
        "destination",
        "destination_conn_id",
        "table",
        "dataset",
        "window_start",
        "window_end",
    )
    ui_color = "#cfe2f3"

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
            raise ConfigurationError(f"windows {windows!r} is unknown. Give one of {', '.join(map(repr, _CHOICES))}.")
        check_length("window_length", window_length)

    @abstractmethod
    def open_warehouse(self) -> Warehouse:
        """Return the warehouse to load into."""

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Load what is committed and not loaded yet; return the summary."""
        with translate_task_errors(self):
            summary = self._load(context).summary()
        self.log.info("Loaded %s", summary)
        return summary

    def _load(self, context: Mapping[str, Any]) -> LoadOutcome:
        from airflow_audit_provider._airflow.destinations import store_from_connection
        from airflow_audit_provider.pipelines.load import LoadSpec, load_committed

        order = LoadSpec(
            self.dataset or dataset_uri(self.destination), self._asked(context), is_exact=self.windows == "events"
        )
        store = store_from_connection(self.destination, self.destination_conn_id)
        with closing(self.open_warehouse()) as warehouse:
            return load_committed(order, store, warehouse, self._log_window)

    def _asked(self, context: Mapping[str, Any]) -> tuple[TimeWindow, ...] | None:
        """Return the windows this run is to load, None for all that are not loaded yet."""
        from airflow_audit_provider._airflow.run_context import run_bounds
        from airflow_audit_provider.core.warehouse.load_plan import event_windows
        from airflow_audit_provider.core.windows.run_window import resolve_run_window

        if self.windows == "pending":
            return None
        if self.windows == "events":
            events = (context.get("triggering_asset_events") or {}).get(audit_log_asset(self.destination), ())
            return event_windows(event.extra for event in events)
        bounds = run_bounds(
            context,
            window_start=self.window_start,
            window_end=self.window_end,
            window_length=self.window_length,
            timezone=self.timezone,
            partition_key_format=self.partition_key_format,
        )
        return (resolve_run_window(bounds).window,)

    def _log_window(self, loaded: LoadedWindow) -> None:
        verb = f"in place of {loaded.replaced_generation}" if loaded.replaced_generation else "anew"
        self.log.info("Loaded generation %s of %s %s", loaded.generation, loaded.window, verb)


class CloudflareAuditLogsToSqlOperator(_LoadOperator):
    """Loads landed windows into a table of a SQL database, each exactly once: PostgreSQL or DuckDB.

    A window's rows and its line in the load ledger, the table ``{table}_loads``, are one transaction. A newer
    generation replaces its window's rows; what is loaded is not loaded again. Two loaders of one window cannot both add
    its rows.

    :param destination: where the audit logs landed. (templated)
    :param destination_conn_id: the connection for it. (templated)
    :param conn_id: a connection of type ``postgres``, or ``duckdb`` with the file as its host and, if 256MB are not
        right for DuckDB, ``memory_limit`` in its extra. (templated)
    :param duckdb_path: a DuckDB file, made if it is missing, instead of ``conn_id``. (templated)
    :param table: ``table`` or ``schema.table``; made if it is missing, columns that are new are added. (templated)
    :param dataset: the destination's name inside the table; by default its URI. (templated)
    :param windows: ``pending`` for all that is committed and not loaded, ``events`` for the windows of the asset events
        that triggered the run, ``run`` for those that share an instant with the run's own window. Of the latter two
        what is committed is loaded, and the task fails, to be tried again, until nothing of them is missing.
    :param window_start: with ``run``, as in the landing operator. (templated)
    :param window_end: the same. (templated)
    :param window_length: the same.
    :param timezone: the same.
    :param partition_key_format: the same.

    Returns a dict with ``loaded_count replaced_count unchanged_count record_count window_start window_end``. Fails,
    to be tried again, when a part of what is asked is not committed; for good, when a window is damaged. Either way
    the other windows are loaded.
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
        """Return the table in the database."""
        from airflow_audit_provider._airflow.warehouses import open_sql_warehouse

        return open_sql_warehouse(self.conn_id, self.duckdb_path, self.table)


class CloudflareAuditLogsToIcebergOperator(_LoadOperator):
    """Loads landed windows into an Apache Iceberg table, each exactly once, one catalog commit a window.

    A commit replaces exactly its window's rows; the manifest's digest stands in the snapshot's summary, and the load
    ledger in the table's properties. Tasks that load other windows at the same time lose nothing.

    :param destination: where the audit logs landed. (templated)
    :param destination_conn_id: the connection for it. (templated)
    :param catalog_conn_id: a connection whose extra has the catalog's properties as pyiceberg names them; its host is
        the ``uri``, login and password are the ``credential``. (templated)
    :param catalog_properties: the same properties, as a dict, on top of the connection's. (templated)
    :param warehouse: where tables lie. With neither of the two above an absolute local folder, in which an SQLite file
        is the catalog. (templated)
    :param table: ``namespace.table``; made if it is missing, columns that are new are added. (templated)
    :param dataset: the destination's name inside the table; by default its URI. (templated)
    :param windows: ``pending``, ``events`` or ``run``, as in ``CloudflareAuditLogsToSqlOperator``.
    :param window_start: with ``run``, as in the landing operator. (templated)
    :param window_end: the same. (templated)
    :param window_length: the same.
    :param timezone: the same.
    :param partition_key_format: the same.

    Returns a dict with ``loaded_count replaced_count unchanged_count record_count window_start window_end``. Fails,
    to be tried again, when a part of what is asked is not committed; for good, when a window is damaged. Either way
    the other windows are loaded.
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
        """Return the table in the catalog."""
        from airflow_audit_provider._airflow.warehouses import open_iceberg_warehouse

        return open_iceberg_warehouse(self.catalog_conn_id, self.catalog_properties, self.warehouse, self.table)
