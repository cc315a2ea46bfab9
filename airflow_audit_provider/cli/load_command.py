"""The command ``load``: its arguments, and its result as text, values and exit status.

What it does is in ``cli/load_run``, which is imported when the command runs.

Invariant: a password is taken from an Airflow connection, never from an argument, which other users of the machine
could read.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import redirect_stdout

from airflow_audit_provider.cli.arguments import CommandResult, Commands, add_archive_command


def add_load(commands: Commands) -> None:
    """Adds the command ``load``."""
    summary = (
        "load committed windows into DuckDB, PostgreSQL, Iceberg, Delta Lake or ClickHouse, each exactly once, as the "
        "load operators do"
    )
    parser = add_archive_command(commands, "load", _load, summary)
    _add_warehouse(parser)
    parser.add_argument(
        "--dataset", metavar="NAME", help="name of the destination in the table; default: the destination's URI"
    )
    parser.add_argument(
        "--start",
        metavar="TIME",
        help="start of the range, a date or RFC 3339 time; without --start and --end: all windows that are not loaded "
        "yet",
    )
    parser.add_argument(
        "--end",
        metavar="TIME",
        help="end of the range, exclusive, a date or RFC 3339 time; if a part of the range is not committed, the rest "
        "is loaded, and the exit status is 1",
    )
    parser.add_argument("--timezone", default="UTC", metavar="NAME", help="time zone of the bounds; default: UTC")
    parser.add_argument("--quiet", action="store_true", help="show no progress")


def _add_warehouse(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--duckdb", metavar="FILE", help="DuckDB file; created if it does not exist")
    parser.add_argument(
        "--conn-id",
        metavar="ID",
        help="Airflow connection of type postgres or duckdb, for example from AIRFLOW_CONN_WAREHOUSE",
    )
    parser.add_argument(
        "--catalog-conn-id",
        metavar="ID",
        help="Airflow connection with the properties of an Iceberg catalog, as for the Iceberg operator",
    )
    parser.add_argument(
        "--warehouse",
        metavar="LOCATION",
        help="location of Iceberg tables; if --catalog-conn-id is not given, an absolute local folder, in which the "
        "catalog is kept",
    )
    parser.add_argument(
        "--delta", metavar="LOCATION", help="folder of a Delta table, as a path or URI; created if it does not exist"
    )
    parser.add_argument(
        "--delta-conn-id",
        metavar="ID",
        help="Airflow connection of the Delta table's object store, as table_conn_id of the operator",
    )
    parser.add_argument(
        "--clickhouse-conn-id",
        metavar="ID",
        help="Airflow connection of a ClickHouse server, of type clickhouse or generic",
    )
    parser.add_argument(
        "--table",
        metavar="NAME",
        help="table to load, created if it does not exist; default: cloudflare_audit_logs, for Iceberg "
        "audit.cloudflare_audit_logs",
    )


def _load(options: argparse.Namespace) -> CommandResult:
    # Airflow logs to the standard output that it finds when it is imported; that is for the result.
    with redirect_stdout(sys.stderr):
        from airflow_audit_provider.cli.load_run import load

        return load(options, sys.stderr)
