"""The command ``detect``: runs detection rules on committed windows, or only counts what they would have found.

Invariant: with ``--dry-run`` it writes nothing to the destination.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import msgspec

from airflow_audit_provider.adapters.clock import SystemClock
from airflow_audit_provider.adapters.storage.lake_store import destination_from_uri
from airflow_audit_provider.cli.arguments import (
    EXIT_OK,
    EXIT_PROBLEM,
    CommandResult,
    Commands,
    add_archive_command,
    add_range,
    range_of,
)
from airflow_audit_provider.cli.html_output import add_html, destination_name, write_html
from airflow_audit_provider.cli.progress import ReadProgress
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.verification.findings import printable
from airflow_audit_provider.core.warehouse.alerts import event_extra
from airflow_audit_provider.core.warehouse.backtest_report import (
    MINUTES_PER_ALERT,
    BacktestReport,
    backtest_report,
    backtest_text,
)
from airflow_audit_provider.core.warehouse.detections import DetectionCommit, Rule
from airflow_audit_provider.exceptions import AuditProviderError, ConfigurationError
from airflow_audit_provider.pipelines.alert_delivery import message_of
from airflow_audit_provider.pipelines.backtest import backtest
from airflow_audit_provider.pipelines.detect import MOST_RUN_BACK, DetectSpec, detect
from airflow_audit_provider.pipelines.sigma_rules import SIGMA, load_sigma_rules
from airflow_audit_provider.pipelines.stitching import check_one_version

if TYPE_CHECKING:
    from airflow_audit_provider._airflow.report.document import Document


def add_detect(commands: Commands) -> None:
    """Adds the command ``detect``."""
    summary = "run detection rules on committed windows that they have not run on, or count the alerts they would give"
    parser = add_archive_command(commands, "detect", _detect, summary)
    add_html(parser)
    add_range(parser)
    parser.add_argument(
        "--rules",
        action="append",
        metavar="FOLDER",
        help="folder of Sigma rules, instead of the rules of this package; may be repeated",
    )
    parser.add_argument(
        "--timezone", default="UTC", metavar="ZONE", help="time zone of the local hours in rules; default: UTC"
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="count the alerts that the rules would give in the range; writes nothing",
    )
    parser.add_argument(
        "--run-back",
        type=_days,
        default=timedelta(days=1),
        metavar="DAYS",
        help="how far back a new rule runs; also how far the first run goes back; default: 1",
    )
    parser.add_argument(
        "--minutes-per-alert",
        type=float,
        default=MINUTES_PER_ALERT,
        metavar="MINUTES",
        help="with --dry-run, time that a person needs for an alert; default: %(default)g",
    )


def _days(text: str) -> timedelta:
    """Returns a length given as a number of days."""
    try:
        length = timedelta(days=float(text))
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days") from error
    if not timedelta(0) <= length <= MOST_RUN_BACK:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days from 0 to {MOST_RUN_BACK.days}")
    return length


def _detect(options: argparse.Namespace) -> CommandResult:
    rules = load_sigma_rules(options.rules, options.timezone)
    store = destination_from_uri(options.destination)
    check_one_version(store)
    if options.dry_run:
        return _backtest(options, rules)
    if options.html or options.start or options.end:
        raise ConfigurationError("--start, --end and --html belong to a back-test. Add --dry-run, or leave them out.")
    now = SystemClock().now()
    spec = DetectSpec(rules, now, now - options.run_back, uuid4().hex)
    commits: list[DetectionCommit] = []
    try:
        detect(spec, store, SIGMA, commits.append)
    except AuditProviderError as error:
        if not any(one.alert_count for one in commits):
            raise
        # No later run gives the alerts of these commits again, so they are printed before the error.
        problem = printable(f"{type(error).__name__}: {error}")
        text, values = _alerts(options, store, commits)
        return CommandResult(EXIT_PROBLEM, f"{text}\n{problem}\n", {**values, "error": problem})
    return CommandResult(EXIT_OK, *_alerts(options, store, commits))


def _alerts(
    options: argparse.Namespace, store: Store, commits: Sequence[DetectionCommit]
) -> tuple[str, dict[str, object]]:
    """Returns the alerts of commits as text and as values."""
    message = message_of(store, commits, destination_name(options.destination))
    return "no new alerts\n" if message is None else message.text, event_extra(commits)


def _backtest(options: argparse.Namespace, rules: Sequence[Rule]) -> CommandResult:
    with ReadProgress(sys.stderr, SystemClock(), reads_all=False) as progress:
        store = progress.observed(destination_from_uri(options.destination))
        found = backtest(store, rules, SIGMA, range_of(options))
    report = backtest_report(
        destination_name(options.destination),
        found.windows,
        found.record_count,
        list(found.tallies.values()),
        options.minutes_per_alert,
    )
    write_html(options, lambda: _document(report))
    return CommandResult(EXIT_OK, backtest_text(report), msgspec.to_builtins(report))


def _document(report: BacktestReport) -> Document:
    from airflow_audit_provider._airflow.report.backtest_document import backtest_document

    return backtest_document(report, SystemClock().now().replace(microsecond=0))
