"""The command ``pull``: its arguments, and its result as text, values and exit status.

What it does is in ``cli/pull_run``, which is imported when the command runs.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import redirect_stdout

from airflow_audit_provider.cli.arguments import (
    WHOLE_RANGE,
    CommandResult,
    Commands,
    add_archive_command,
    add_log,
    add_privacy,
    minutes,
)
from airflow_audit_provider.core.limits import (
    EDGES,
    FAIL_ON_ODD_RECORDS,
    KEEP_ODD_RECORDS,
    NO_VERIFICATION,
    RECOUNT,
)
from airflow_audit_provider.core.windows.division import DIVISIONS


def add_pull(commands: Commands) -> None:
    """Adds the command ``pull``."""
    summary = "land the windows of a range that are not committed, as the land operator does"
    parser = add_archive_command(commands, "pull", _pull, summary)
    _add_windows(parser)
    add_log(parser)
    parser.add_argument(
        "--filter",
        action="append",
        metavar="NAME=VALUE",
        help="filter of the API, by its Python or API name; may be repeated",
    )
    _add_form(parser)
    parser.add_argument(
        "--reread-committed", action="store_true", help="also read windows that are committed, and add late records"
    )
    parser.add_argument(
        "--verify",
        choices=(EDGES, RECOUNT, NO_VERIFICATION),
        help="how a window is verified before its commit, as the operator's argument verify",
    )
    parser.add_argument(
        "--concurrency", type=int, metavar="COUNT", help="requests at a time, 1 to 64; default: as configured, or 6"
    )
    parser.add_argument("--quiet", action="store_true", help="show no progress")


def _add_windows(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--start",
        metavar="TIME",
        help="start of the range, a date or RFC 3339 time; default: the oldest window that the API still has whole",
    )
    parser.add_argument(
        "--end", metavar="TIME", help="end of the range, exclusive; default: the end of the last settled window"
    )
    parser.add_argument(
        "--partition-by",
        choices=(*DIVISIONS, WHOLE_RANGE),
        default="day",
        help="length of a window; none makes the whole range one window and requires --start and --end; default: day",
    )
    parser.add_argument("--timezone", default="UTC", metavar="NAME", help="time zone of the windows; default: UTC")
    parser.add_argument(
        "--settle-delay",
        type=minutes,
        metavar="MINUTES",
        help="how long after its end a window is read; default: as configured, or 15",
    )


def _add_form(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--file-format",
        choices=("jsonl", "csv", "parquet"),
        help="default: that of the destination's dataset, else jsonl",
    )
    parser.add_argument("--compression", choices=("gzip", "zstd", "none"), help="default: gzip, for Parquet zstd")
    parser.add_argument(
        "--schema",
        choices=("raw", "normalized", "ocsf", "ocsf-1.3", "ocsf-1.1"),
        help="default: that of the destination's dataset, else raw",
    )
    parser.add_argument(
        "--ocsf-severity",
        metavar="JSON",
        help="ocsf_severity of the land operator as a JSON object of rules and severities",
    )
    add_privacy(parser)
    parser.add_argument(
        "--security-lake",
        metavar="JSON",
        help="security_lake of the land operator as a JSON object: land as a custom source of Amazon Security Lake",
    )
    parser.add_argument(
        "--odd-records",
        choices=(KEEP_ODD_RECORDS, FAIL_ON_ODD_RECORDS),
        default=KEEP_ODD_RECORDS,
        help="what to do with records that break the API's contract; default: keep",
    )


def _pull(options: argparse.Namespace) -> CommandResult:
    # Airflow logs to the standard output that it finds when it is imported; that is for the result.
    with redirect_stdout(sys.stderr):
        from airflow_audit_provider.cli.pull_run import pull

        return pull(options, sys.stderr)
