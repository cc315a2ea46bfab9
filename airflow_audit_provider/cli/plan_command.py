"""The command ``plan``: its arguments, and its result as text, values and exit status.

What it does is in ``cli/plan_run``, which is imported when the command runs, because Airflow takes seconds to import.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import redirect_stdout

import msgspec

from airflow_audit_provider.cli.arguments import (
    EXIT_OK,
    EXIT_PROBLEM,
    CommandResult,
    Commands,
    add_archive_command,
    add_log,
    minutes,
)
from airflow_audit_provider.cli.html_output import add_html, destination_name, write_html
from airflow_audit_provider.core.limits import EDGES, NO_VERIFICATION, RECOUNT
from airflow_audit_provider.core.windows.division import DIVISIONS


def add_plan(commands: Commands) -> None:
    """Adds the command ``plan``."""
    summary = "estimate what a backfill of the missing windows needs, and say what is lost and what expires"
    parser = add_archive_command(commands, "plan", _plan, summary)
    add_html(parser)
    parser.add_argument(
        "--start", metavar="TIME", help="start of the range, a date or RFC 3339 time; default: the oldest whole window"
    )
    parser.add_argument(
        "--end", metavar="TIME", help="end of the range, exclusive; default: the end of the last settled window"
    )
    add_log(parser)
    parser.add_argument(
        "--division", choices=DIVISIONS, help="length of a window, the same as in the DAG's schedule; default: day"
    )
    parser.add_argument("--timezone", metavar="NAME", help="time zone of the windows; default: UTC")
    parser.add_argument(
        "--settle-delay", type=minutes, metavar="MINUTES", help="how long after its end a window is read; default: 15"
    )
    parser.add_argument(
        "--samples",
        type=int,
        dest="sample_count",
        metavar="COUNT",
        help="number of pages of the log that are requested as samples at first, 6 to 300; default: 30. If these "
        "samples show that the backfill needs more than 100 x COUNT requests (by default 3000), at most 2 x COUNT more "
        "pages are requested as samples (by default 60)",
    )
    parser.add_argument(
        "--verify",
        choices=(EDGES, RECOUNT, NO_VERIFICATION),
        help="how the backfill verifies windows, as the operator's argument verify; the estimate includes its requests",
    )
    parser.add_argument(
        "--concurrency", type=int, metavar="COUNT", help="requests of the backfill's task at a time; default: 6"
    )
    parser.add_argument("--dag-id", metavar="ID", help="DAG of the backfill; default: cloudflare_audit_backfill")


def _plan(options: argparse.Namespace) -> CommandResult:
    # Airflow logs to the standard output that it finds when it is imported; that is for the result.
    with redirect_stdout(sys.stderr):
        from airflow_audit_provider._airflow.report.check_documents import plan_document
        from airflow_audit_provider.cli.plan_run import make_plan

        plan = make_plan(options, sys.stderr)
        write_html(options, lambda: plan_document(destination_name(options.destination), plan))
    return CommandResult(EXIT_PROBLEM if plan.is_obstructed else EXIT_OK, plan.text(), msgspec.to_builtins(plan))
