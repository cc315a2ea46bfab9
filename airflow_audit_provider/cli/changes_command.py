"""The command ``changes``: derives what committed records changed, or shows it for one record.

Invariant: it writes what a task of the changes operator writes, and either can continue where the other one stopped.
With ``--show`` it writes nothing, and sends no request.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import closing, redirect_stdout

import msgspec

from airflow_audit_provider.adapters.storage.lake_store import destination_from_uri
from airflow_audit_provider.cli.arguments import (
    EXIT_OK,
    EXIT_PROBLEM,
    CommandResult,
    Commands,
    add_archive_command,
    add_conn_id,
    add_privacy,
    add_range,
    privacy_of,
    range_of,
)
from airflow_audit_provider.core.api.difference import difference_of
from airflow_audit_provider.core.limits import check_max_requests, check_rate_share
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.verification.findings import printable
from airflow_audit_provider.core.warehouse.change_files import ChangeRow
from airflow_audit_provider.core.windows.window import EARLIEST_AT, LATEST_AT, TimeWindow
from airflow_audit_provider.pipelines.changes import ChangesOutcome, ChangesSpec, derive_changes
from airflow_audit_provider.pipelines.stitching import check_one_version
from airflow_audit_provider.pipelines.window_changes import find_change

DEFAULT_RATE_SHARE = 0.1


def add_changes(commands: Commands) -> None:
    """Adds the command ``changes``."""
    summary = "derive what each committed record changed, as the changes operator does, or show it for one record"
    parser = add_archive_command(commands, "changes", _changes, summary)
    add_range(parser)
    parser.add_argument(
        "--show", metavar="ID", help="only show what the record with this id changed, if that was derived before"
    )
    parser.add_argument(
        "--rate-share",
        type=float,
        default=DEFAULT_RATE_SHARE,
        metavar="SHARE",
        help="share of the rate limit that the requests take on average; default: %(default)g",
    )
    parser.add_argument(
        "--max-requests",
        type=int,
        metavar="COUNT",
        help="the run ends after about this many requests, and the next run continues where it stopped; default: no "
        "limit",
    )
    add_privacy(parser)
    add_conn_id(parser)


def _changes(options: argparse.Namespace) -> CommandResult:
    check_rate_share(options.rate_share)
    check_max_requests(options.max_requests)
    store = destination_from_uri(options.destination)
    check_one_version(store)
    start, end = range_of(options)
    time_range = TimeWindow(start or EARLIEST_AT, end or LATEST_AT)
    if options.show is not None:
        row = find_change(store, time_range, options.show)
        return CommandResult(EXIT_OK, change_text(row), msgspec.to_builtins(row))
    outcome = _derive(options, store, time_range)
    values = outcome.summary()
    lines = [f"{name}: {value}" for name, value in values.items()]
    if outcome.skipped:
        lines.append("Windows that were erased under another privacy rule were skipped. Give their rule and range:")
        lines += [f"  {window}" for window in outcome.skipped]
    is_done = outcome.is_complete and not outcome.skipped
    return CommandResult(EXIT_OK if is_done else EXIT_PROBLEM, "\n".join(lines) + "\n", values)


def _derive(options: argparse.Namespace, store: Store, time_range: TimeWindow) -> ChangesOutcome:
    """Derives the changes of the windows of a range that have none yet."""
    # Airflow takes seconds to import, and logs to the standard output that it finds; that is for the result.
    with redirect_stdout(sys.stderr):
        from airflow_audit_provider._airflow.secrets import open_privacy
        from airflow_audit_provider.cli.plan_run import hook_for

        privacy = open_privacy(privacy_of(options))
        with closing(hook_for(options)) as hook:
            spec = ChangesSpec(time_range, hook.clock.now(), options.rate_share, privacy, options.max_requests)
            return derive_changes(spec, store, hook.reader())


def change_text(row: ChangeRow) -> str:
    """Returns what a record changed for people, one field a line."""
    lines = [f"record {row.id} of {row.event_time} ({row.history_status}, from the {row.source})"]
    if msgspec.UNSET in (row.before, row.after):
        unknown = " and ".join(name for name in ("before", "after") if getattr(row, name) is msgspec.UNSET)
        lines.append(f"The value {unknown} is not known.")
    difference = difference_of(row.before, row.after)
    for line in difference.lines:
        lines.append(f"{line.path}:")
        lines += [f"  - {line.before}"] if line.before is not None else []
        lines += [f"  + {line.after}"] if line.after is not None else []
    if difference.has_more:
        lines.append("There are more fields; they are not shown.")
    if not difference.lines and msgspec.UNSET not in (row.before, row.after):
        lines.append("Nothing differs.")
    return "".join(f"{printable(line)}\n" for line in lines)
