"""The command ``coverage``: its arguments, and its result as text, values and exit status.

Invariant: it writes nothing to the destination but the index of manifests, if that is asked for.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING

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
    minutes,
    range_of,
)
from airflow_audit_provider.cli.html_output import add_html, destination_name, write_html
from airflow_audit_provider.cli.progress import ReadProgress
from airflow_audit_provider.core.archive.object_keys import DATASET_KEY
from airflow_audit_provider.core.limits import DEFAULT_SETTLE_DELAY
from airflow_audit_provider.core.verification.coverage import coverage_table
from airflow_audit_provider.core.verification.findings import findings_table, printable
from airflow_audit_provider.core.verification.lateness import Lateness
from airflow_audit_provider.core.verification.pass_records import verified_line
from airflow_audit_provider.core.windows.window import count_of, format_length
from airflow_audit_provider.pipelines.coverage import DatasetCoverage, PublishedCoverage, coverage, published_coverage
from airflow_audit_provider.pipelines.freshness import freshness_report
from airflow_audit_provider.pipelines.stitching import held_stitching

if TYPE_CHECKING:
    from airflow_audit_provider._airflow.report.document import Document

_NOTHING = (
    "The destination holds no committed window. If there should be some, check the spelling of the destination: it is "
    "the folder that contains _manifests/, or a folder above it.\n"
)


def add_coverage(commands: Commands) -> None:
    """Adds the command ``coverage``."""
    summary = "list which spans of a time range are committed, pending or missing, for each dataset in a folder"
    parser = add_archive_command(commands, "coverage", _coverage, summary)
    add_html(parser)
    add_range(parser)
    parser.add_argument(
        "--settle-delay",
        type=minutes,
        default=DEFAULT_SETTLE_DELAY,
        metavar="MINUTES",
        help="what is not committed counts as missing if the window that should cover it ended more than this many "
        "minutes ago, and otherwise as pending; default: 15",
    )
    parser.add_argument(
        "--freshness",
        action="store_true",
        help="also show how late records came, and propose settle_delay and lookback, as the command freshness does",
    )
    parser.add_argument(
        "--write-index",
        action="store_true",
        help="copy the manifests that this run has read to _manifest_index/, so that the next run reads only one file "
        "for each month of the history",
    )


def _coverage(options: argparse.Namespace) -> CommandResult:
    start, end = range_of(options)
    clock, root = SystemClock(), destination_from_uri(options.destination)
    now = clock.now()
    with ReadProgress(sys.stderr, clock) as progress:
        store = progress.observed(root)
        found = coverage(store, now, start, end, options.settle_delay, write_index=options.write_index)
        stitching = held_stitching(store)
        lateness = dict(_lateness(options, found, now, progress)) if options.freshness else None
    head = "" if stitching is None else printable(f"Stitched history: {stitching}") + "\n"
    text = head + "\n".join(_text(one, (lateness or {}).get(one.folder)) for one in found) or _NOTHING
    is_complete = bool(found) and all(one.is_complete for one in found)
    published = published_coverage(found, stitching, lateness)
    write_html(options, lambda: _document(options, published, now))
    return CommandResult(EXIT_OK if is_complete else EXIT_PROBLEM, text, msgspec.to_builtins(published))


def _lateness(
    options: argparse.Namespace, found: Iterable[DatasetCoverage], now: datetime, progress: ReadProgress
) -> Iterator[tuple[str, Lateness]]:
    """Yields how late the records of each folder with a window came."""
    for one in found:
        if one.coverage.window_count:
            uri = f"{options.destination.rstrip('/')}/{one.folder.rstrip('/')}" if one.folder else options.destination
            store = progress.observed(destination_from_uri(uri))
            yield one.folder, freshness_report(store, now, options.settle_delay).lateness


def _document(options: argparse.Namespace, found: PublishedCoverage, now: datetime) -> Document:
    from airflow_audit_provider._airflow.report.check_documents import coverage_document

    return coverage_document(destination_name(options.destination), found, now)


def _text(found: DatasetCoverage, lateness: Lateness | None) -> str:
    folder, dataset = printable(found.folder), printable(str(found.dataset))
    descriptor = "" if found.has_descriptor else f"The dataset descriptor {folder}{DATASET_KEY} is missing.\n"
    findings = findings_table(found.findings) if found.findings else ""
    text = f"{folder or './'}: {dataset}\n{descriptor}{findings}{coverage_table(found.coverage)}"
    return text + verified_line(found.verified) + ("" if lateness is None else _lateness_text(lateness))


def _lateness_text(found: Lateness) -> str:
    """Returns two lines about how late records came."""
    late = f"{count_of(found.late_count, 'late record')}"
    if found.at_most is not None:
        late += f", half of them at most {format_length(found.at_most.p50)} after their event, "
        late += f"99.9 % at most {format_length(found.at_most.p99_9)}"
    settings = ((name, getattr(found, name).proposed) for name in ("settle_delay", "lookback"))
    texts = [f"{name} {'too few records' if one is None else format_length(one)}" for name, one in settings]
    return f"{late}\nproposed for 99.9 % of the records: {', '.join(texts)}\n"
