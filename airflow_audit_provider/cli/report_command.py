"""The command ``report``: its arguments, and the file that it writes.

Invariant: the file appears whole or not at all, and the destination is only read.
"""

from __future__ import annotations

import argparse
import sys
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec

from airflow_audit_provider.adapters.clock import SystemClock
from airflow_audit_provider.adapters.storage.lake_store import destination_from_uri
from airflow_audit_provider.cli.arguments import EXIT_OK, EXIT_PROBLEM, CommandResult, Commands, add_archive_command
from airflow_audit_provider.cli.html_output import destination_name
from airflow_audit_provider.cli.progress import ReadProgress
from airflow_audit_provider.cli.trust import add_trust_anchors, trust_anchors
from airflow_audit_provider.core.windows.run_window import read_bound
from airflow_audit_provider.pipelines.report import gather_evidence


class WrittenReport(msgspec.Struct, frozen=True):
    """What ``report --json`` prints; docs/reference/report.schema.json is its schema.

    ``verdict`` is ``wrong`` if something was changed or cannot be used, ``gaps`` if windows are missing, and ``good``
    otherwise. ``headline`` is the first sentence of the report.
    """

    file: str
    verdict: Literal["wrong", "gaps", "good"]
    headline: str
    size_bytes: int


def add_report(commands: Commands) -> None:
    """Adds the command ``report``."""
    summary = "write one file for an auditor: what is covered and proved, gaps, seals, and how to check it"
    parser = add_archive_command(commands, "report", _report, summary)
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FILE",
        help="HTML file to write, or a PDF file if its name ends in .pdf; that needs Chromium on the PATH",
    )
    parser.add_argument(
        "--at",
        metavar="TIME",
        help="date or RFC 3339 time that decides what is due and what expires; default: now. If two runs have the "
        "same time, destination, other options and version of this package, they write the same bytes of HTML",
    )
    parser.add_argument(
        "--changes",
        action="store_true",
        help="add what the newest records changed, field by field, from the folder _changes; the file then contains "
        "content of records",
    )
    add_trust_anchors(parser)


def _report(options: argparse.Namespace) -> CommandResult:
    # The templates take a tenth of a second to import, which the other commands need not wait for.
    from airflow_audit_provider._airflow.report.destination_report import destination_report
    from airflow_audit_provider._airflow.report.document import Verdict
    from airflow_audit_provider._airflow.report.files import write_report

    now, destination = _instant(options), options.destination
    anchors = trust_anchors(options)
    with ReadProgress(sys.stderr, SystemClock()) as progress:
        evidence = gather_evidence(
            progress.observed(destination_from_uri(destination)),
            lambda folder: progress.observed(destination_from_uri(f"{destination.rstrip('/')}/{folder.rstrip('/')}")),
            anchors,
            now,
            with_changes=options.changes,
        )
    document = destination_report(destination_name(destination), evidence, now)
    size_bytes = write_report(options.out, document)
    written = {"file": str(options.out), "verdict": document.verdict, "headline": document.headline}
    status = EXIT_OK if document.verdict is Verdict.GOOD else EXIT_PROBLEM
    text = f"{document.headline}\n{options.out}: {size_bytes} bytes\n"
    return CommandResult(status, text, {**written, "size_bytes": size_bytes})


def _instant(options: argparse.Namespace) -> datetime:
    return read_bound("--at", options.at) or SystemClock().now().replace(microsecond=0)
