"""The run of the command ``load``: the pipeline of the load operators, without a task around it.

It is imported when the command runs, because Airflow takes seconds to import.

Invariant: the command and the operators share the load ledger, so a window that one has loaded is not loaded again by
the other.
"""

from __future__ import annotations

import argparse
import signal
from contextlib import closing
from io import StringIO
from pathlib import Path
from typing import TextIO

from airflow_audit_provider._airflow.destinations import local_dataset_uri
from airflow_audit_provider._airflow.observability.log_lines import load_line
from airflow_audit_provider._airflow.warehouses import (
    open_clickhouse_warehouse,
    open_delta_warehouse,
    open_iceberg_warehouse,
    open_sql_warehouse,
)
from airflow_audit_provider.adapters.clock import SystemClock
from airflow_audit_provider.adapters.storage.lake_store import destination_from_uri
from airflow_audit_provider.cli.arguments import EXIT_OK, SIGNAL_STATUS, CommandResult
from airflow_audit_provider.cli.progress import LoadProgress
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.warehouse.port import Warehouse
from airflow_audit_provider.core.windows.run_window import RunBounds, resolve_run_window
from airflow_audit_provider.core.windows.window import TimeWindow, count_of
from airflow_audit_provider.exceptions import ConfigurationError
from airflow_audit_provider.pipelines.load import LoadOutcome, LoadSpec, load_committed
from airflow_audit_provider.pipelines.stitched_load import load_stitched
from airflow_audit_provider.pipelines.stitching import held_stitching

# The defaults of the two operators.
_SQL_TABLE, _ICEBERG_TABLE = "cloudflare_audit_logs", "audit.cloudflare_audit_logs"


def load(options: argparse.Namespace, output: TextIO) -> CommandResult:
    """Loads the windows that are committed and not loaded yet, and shows the progress on ``output``."""
    store, clock, uri = destination_from_uri(options.destination), SystemClock(), local_dataset_uri(options.destination)
    spec = LoadSpec(options.dataset or uri, uri, _requested(options), now=clock.now())
    shown = StringIO() if options.quiet else output
    with closing(_warehouse(options)) as warehouse, LoadProgress(shown, clock) as progress:
        try:
            outcome = _load(options, spec, store, warehouse, progress)
        except KeyboardInterrupt:
            return _interrupted(progress, output)
    text = f"{load_line(outcome, _table(options))}\n"
    return CommandResult(EXIT_OK, text, {**outcome.summary(), "is_interrupted": False})


def _load(
    options: argparse.Namespace, spec: LoadSpec, store: Store, warehouse: Warehouse, progress: LoadProgress
) -> LoadOutcome:
    """Loads the dataset at the destination, or both versions of a stitched history."""
    stitching = held_stitching(store)
    if stitching is None:
        return load_committed(spec, store, warehouse, progress.loaded)
    root = options.destination.rstrip("/")
    return load_stitched(
        spec, stitching, lambda name: destination_from_uri(f"{root}/{name}"), warehouse, progress.loaded
    )


def _requested(options: argparse.Namespace) -> tuple[TimeWindow, ...] | None:
    """Returns the range whose windows must be loaded, None for all that are committed."""
    if options.start is None and options.end is None:
        return None
    if options.start is None or options.end is None:
        raise ConfigurationError("Only one of --start and --end is given. Give both, or none to load all windows.")
    bounds = RunBounds(window_start=options.start, window_end=options.end, timezone=options.timezone)
    return (resolve_run_window(bounds).window,)


def _warehouse(options: argparse.Namespace) -> Warehouse:
    """Returns the table that the arguments name; raises ``ConfigurationError`` unless they name one warehouse."""
    is_iceberg = bool(options.catalog_conn_id or options.warehouse)
    others = (options.duckdb, options.conn_id, options.delta, options.clickhouse_conn_id)
    if sum(map(bool, others)) + is_iceberg != 1:
        raise ConfigurationError(
            "The arguments name no warehouse, or several. Give one of --duckdb, --conn-id, --delta and "
            "--clickhouse-conn-id; or, for Iceberg, --catalog-conn-id, --warehouse or both."
        )
    if options.clickhouse_conn_id:
        return open_clickhouse_warehouse(options.clickhouse_conn_id, _table(options))
    if options.delta:
        return open_delta_warehouse(_table(options), options.delta_conn_id, None)
    if is_iceberg:
        return open_iceberg_warehouse(options.catalog_conn_id, None, options.warehouse, _table(options))
    return open_sql_warehouse(options.conn_id, options.duckdb, _table(options))


def _table(options: argparse.Namespace) -> str:
    """Returns the table's name, or the location of a Delta table, which may be a relative path here."""
    if options.delta:
        return options.delta if "://" in options.delta else str(Path(options.delta).absolute())
    is_iceberg = options.catalog_conn_id or options.warehouse
    table: str = options.table or (_ICEBERG_TABLE if is_iceberg else _SQL_TABLE)
    return table


def _interrupted(progress: LoadProgress, output: TextIO) -> CommandResult:
    count = count_of(progress.loaded_count, "window")
    output.write(f"Interrupted: this run has loaded {count}. The same command continues from there.\n")
    values = {"loaded_count": progress.loaded_count, "is_interrupted": True}
    return CommandResult(SIGNAL_STATUS + signal.SIGINT, "", values)
