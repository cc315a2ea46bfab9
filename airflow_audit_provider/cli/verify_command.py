"""The command ``verify``: its arguments, and its result as text, values and exit status.

Invariant: it reads the destination, and writes nothing to it but the record of a verification that passed.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from airflow_audit_provider.adapters.clock import SystemClock
from airflow_audit_provider.adapters.storage.fsspec_store import require_object_locks
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
from airflow_audit_provider.cli.progress import ReadProgress, plain_store
from airflow_audit_provider.cli.trust import add_trust_anchors, trust_anchors
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.verification.findings import findings_table, printable
from airflow_audit_provider.core.verification.object_locks import read_lock_date
from airflow_audit_provider.core.verification.timestamps import seal_times_table
from airflow_audit_provider.exceptions import StorageError
from airflow_audit_provider.pipelines.pass_records import record_pass
from airflow_audit_provider.pipelines.stitched_verify import StitchedStores, verify_stitched
from airflow_audit_provider.pipelines.stitching import held_stitching
from airflow_audit_provider.pipelines.verify import LockCheck, PublishedReport, VerifyReport, verify

if TYPE_CHECKING:
    from airflow_audit_provider._airflow.report.document import Document


class _Verified(NamedTuple):
    """The report over the whole destination, and the report of each dataset in it that passed."""

    report: VerifyReport
    passed: list[tuple[Store, VerifyReport]]


def add_verify(commands: Commands) -> None:
    """Adds the command ``verify``."""
    summary = "compare every file with its manifest, and every manifest with the seals"
    parser = add_archive_command(commands, "verify", _verify, summary)
    add_html(parser)
    add_range(parser)
    add_trust_anchors(parser)
    parser.add_argument(
        "--expect-lock",
        metavar="TIME",
        help="date or RFC 3339 time until which the S3 bucket must lock every file; a file without a lock, or whose "
        "lock ends earlier, is listed",
    )
    parser.add_argument(
        "--no-record", action="store_true", help="do not write a record of a passed verification to the destination"
    )


def _verify(options: argparse.Namespace) -> CommandResult:
    store = destination_from_uri(options.destination)
    is_whole = options.start is None and options.end is None
    with ReadProgress(sys.stderr, SystemClock(), reads_all=is_whole) as progress:
        found = _verified(options, store, progress)
    for verified_store, verified in () if options.no_record else found.passed:
        _record_pass(verified_store, verified)
    report = found.report
    counts = "".join(f"{name:20}{value}\n" for name, value in report.summary().items())
    table = findings_table(report.findings) + "\n" if report.findings else ""
    text = table + seal_times_table(report.seals) + counts
    published = report.published()
    write_html(options, lambda: _document(options, published))
    return CommandResult(EXIT_PROBLEM if report.severe_count else EXIT_OK, text, msgspec.to_builtins(published))


def _document(options: argparse.Namespace, report: PublishedReport) -> Document:
    from airflow_audit_provider._airflow.report.check_documents import verify_document

    name, now = destination_name(options.destination), SystemClock().now().replace(microsecond=0)
    return verify_document(name, report, now, range_of(options), trust_anchors(options))


def _verified(options: argparse.Namespace, store: Store, progress: ReadProgress) -> _Verified:
    bounds, anchors, stitching = range_of(options), trust_anchors(options), held_stitching(store)
    if stitching is None:
        report = verify(progress.observed(store), *bounds, anchors, _lock_check(options, store))
        return _Verified(report, [(store, report)])
    stores = StitchedStores(store, lambda name: progress.observed(_stream_store(options.destination, name)))
    found = verify_stitched(stores, stitching, bounds, anchors, lambda one: _lock_check(options, one))
    if found.whole.severe_count:
        return _Verified(found.whole, [])
    streams = [(_stream_store(options.destination, name), one) for name, one in found.streams.items()]
    return _Verified(found.whole, streams)


def _stream_store(destination: str, version: str) -> Store:
    return destination_from_uri(f"{destination.rstrip('/')}/{version}")


def _lock_check(options: argparse.Namespace, store: Store) -> LockCheck | None:
    until = read_lock_date("--expect-lock", options.expect_lock, SystemClock().now())
    return LockCheck(require_object_locks(plain_store(store)), until) if until is not None else None


def _record_pass(store: Store, report: VerifyReport) -> None:
    """Leaves a record of a verification that passed; a destination that is not writable only gets a message."""
    record = report.passed(SystemClock().now())
    if record is None:
        return
    try:
        record_pass(store, record)
    except StorageError as error:
        print(printable(f"The result is not recorded in the destination. {error}"), file=sys.stderr)
