"""The option ``--html`` of coverage, verify and plan: the result also as one HTML file.

Invariant: without the option nothing here imports the templates, so that a command starts as fast as before.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_audit_provider._airflow.destinations import dataset_uri

if TYPE_CHECKING:
    from airflow_audit_provider._airflow.report.document import Document


def add_html(parser: argparse.ArgumentParser) -> None:
    """Adds the option."""
    parser.add_argument(
        "--html",
        type=Path,
        metavar="FILE",
        help="also write the result as one HTML file, or as PDF if the name ends in .pdf; that needs Chromium on the "
        "PATH",
    )


def write_html(options: argparse.Namespace, document: Callable[[], Document]) -> None:
    """Writes the document of a result if the option is given."""
    if options.html is not None:
        from airflow_audit_provider._airflow.report.files import write_report

        write_report(options.html, document())


def destination_name(destination: str) -> str:
    """Returns what a file calls a destination: its URI without credentials, or the whole path of a folder."""
    return dataset_uri(destination) if "://" in destination else str(Path(destination).absolute())
