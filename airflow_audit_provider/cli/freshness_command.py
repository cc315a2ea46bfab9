"""The command ``freshness``: how fresh a destination is, how late records came, and the settings that follow.

Invariant: it writes nothing to the destination.
"""

from __future__ import annotations

import argparse
import sys

import msgspec

from airflow_audit_provider.adapters.clock import SystemClock
from airflow_audit_provider.adapters.storage.fsspec_store import store_from_uri
from airflow_audit_provider.cli.arguments import (
    EXIT_OK,
    CommandResult,
    Commands,
    add_archive_command,
    hours,
    minutes,
)
from airflow_audit_provider.cli.progress import ReadProgress
from airflow_audit_provider.core.limits import DEFAULT_SETTLE_DELAY
from airflow_audit_provider.core.verification.findings import as_table, printable
from airflow_audit_provider.core.verification.lateness import Lateness, Proposal, Quantiles
from airflow_audit_provider.core.windows.window import count_of, format_instant, format_length
from airflow_audit_provider.pipelines.freshness import Freshness, FreshnessReport, freshness_report


def add_freshness(commands: Commands) -> None:
    """Adds the command ``freshness``."""
    summary = "show how old the newest data is and how late records appeared, and propose settle_delay and lookback"
    parser = add_archive_command(commands, "freshness", _freshness, summary)
    parser.add_argument(
        "--settle-delay",
        type=minutes,
        default=DEFAULT_SETTLE_DELAY,
        metavar="MINUTES",
        help="settle_delay of the DAG that lands the windows; default: 15",
    )
    parser.add_argument(
        "--lookback",
        type=hours,
        metavar="HOURS",
        help="lookback of that DAG: for how long after the end of a window the window is read again; default: unknown",
    )


def _freshness(options: argparse.Namespace) -> CommandResult:
    clock, root = SystemClock(), store_from_uri(options.destination)
    with ReadProgress(sys.stderr, clock) as progress:
        found = freshness_report(progress.observed(root), clock.now(), options.settle_delay, options.lookback)
    return CommandResult(EXIT_OK, freshness_text(found), msgspec.to_builtins(found))


def freshness_text(found: FreshnessReport) -> str:
    """Returns the report for people."""
    parts = [printable(found.dataset), *_freshness_lines(found.freshness), "", *_lateness_lines(found.lateness)]
    return "\n".join(parts) + "\n"


def _freshness_lines(found: Freshness) -> list[str]:
    lines = []
    if found.landed_until_at is not None and found.landed_lag_seconds is not None:
        until, lag = format_instant(found.landed_until_at), format_length(found.landed_lag_seconds)
        lines.append(f"Landed until {until}, {lag} ago.")
    if found.last_event_at is not None and found.last_event_age_seconds is not None:
        at, age = format_instant(found.last_event_at), format_length(found.last_event_age_seconds)
        lines.append(f"The newest record is of {at}, {age} ago.")
    return lines


def _lateness_lines(found: Lateness) -> list[str]:
    commits = f"{count_of(found.first_count, 'record')} in the first commit of a window."
    windows = f"{count_of(found.window_count, 'window')}. Windows first read more than 1 h after they were due: "
    windows += f"{found.delayed_count}. Windows that the lookback will read again: {found.open_count}. "
    windows += f"Windows without an entry in the commit log: {found.unknown_count}."
    lines = [
        f"{count_of(found.late_count, 'late record')} in {count_of(found.addition_count, 'part')}; {commits}",
        windows,
    ]
    if found.at_least is not None and found.at_most is not None:
        columns = ("lateness of late records", "p50", "p95", "p99", "p99.9", "longest")
        rows = [columns, ("at least", *_lengths(found.at_least)), ("at most", *_lengths(found.at_most))]
        lines += ["", as_table(rows).rstrip()]
    settings = (("settle_delay", found.settle_delay), ("lookback", found.lookback))
    heading = (
        "setting",
        "current",
        "proposed",
        "shortest that misses none",
        "missed by current",
        "missed by proposed",
        "records measured",
    )
    lines += ["", as_table([heading, *(_row(name, one) for name, one in settings)]).rstrip(), ""]
    return lines + [f"{name}: {note}" for name, one in settings for note in _notes(one, found)] + _limits(found)


def _row(name: str, one: Proposal) -> tuple[str, ...]:
    lengths = (one.current, one.proposed, one.none_missed)
    counts = (one.missed_now, one.missed_proposed, one.record_count)
    texts = ["-" if value is None else format_length(value) for value in lengths]
    return (name, *texts, *("-" if count is None else str(count) for count in counts))


def _notes(one: Proposal, found: Lateness) -> list[str]:
    if one.proposed is not None:
        return []
    counts = f"{one.record_count} of the {one.needed_count:,} records that a confidence of 95 % needs"
    note = f"too few records to propose a value, {counts}."
    if one is found.lookback and found.longest_surely_bounded is not None:
        slower = f"{100 * (1 - found.longest_surely_bounded):.1f} %"
        note += f" With the same confidence, at most {slower} of all late records, future ones included, take longer "
        note += "to appear than the slowest measured one."
    return [note]


def _limits(found: Lateness) -> list[str]:
    lines = ["These figures do not include records that came later than the lookback."]
    if found.is_censored:
        lines.append(
            "Some records came almost at the end of the lookback, so later ones are likely. Read older days again "
            "once, for example with a longer lookback, and run this command again."
        )
    return lines


def _lengths(found: Quantiles) -> tuple[str, ...]:
    return tuple(map(format_length, (found.p50, found.p95, found.p99, found.p99_9, found.longest)))
