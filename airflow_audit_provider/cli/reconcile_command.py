"""The command ``reconcile``: compares a Logpush archive with the dataset of a destination, and repairs both.

Invariant: without ``--pull``, ``--repair-to`` and ``--report-to`` nothing is written; with them, nothing that exists is
changed, in the archive or in the dataset.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, redirect_stdout
from pathlib import Path

import msgspec

from airflow_audit_provider.adapters.signing import Ed25519Signer
from airflow_audit_provider.adapters.spill_file import SpillFile
from airflow_audit_provider.adapters.storage.fsspec_store import store_from_uri
from airflow_audit_provider.adapters.storage.lake_store import destination_from_uri
from airflow_audit_provider.cli.arguments import (
    EXIT_OK,
    EXIT_PROBLEM,
    CommandResult,
    Commands,
    add_archive_command,
    add_log,
    add_privacy,
    add_range,
    hours,
    minutes,
    privacy_of,
)
from airflow_audit_provider.cli.pull_command import add_pull
from airflow_audit_provider.cli.trust import read_key_file
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.privacy.rule import PrivacyRule
from airflow_audit_provider.core.verification.reconcile.report import ReconcileReport
from airflow_audit_provider.core.verification.reconcile.report_text import report_text
from airflow_audit_provider.core.windows.division import DIVISIONS
from airflow_audit_provider.core.windows.run_window import read_bound
from airflow_audit_provider.core.windows.window import count_of, format_instant
from airflow_audit_provider.exceptions import ConfigurationError
from airflow_audit_provider.pipelines.reconcile import DEFAULT_LATE_AFTER, DEFAULT_REACH, ReconcileSpec, Reconciliation
from airflow_audit_provider.pipelines.reconcile_repair import (
    RepairOutcome,
    check_can_repair,
    repair_archive,
    write_report,
)
from airflow_audit_provider.pipelines.stitching import check_one_version


def add_reconcile(commands: Commands) -> None:
    """Adds the command ``reconcile``."""
    summary = "compare a Logpush archive with the committed windows, record by record, and repair what is missing"
    parser = add_archive_command(commands, "reconcile", _reconcile, summary)
    parser.add_argument(
        "--archive",
        action="append",
        required=True,
        metavar="URI",
        help="folder with the files of the Logpush job, or a URL that fsspec can open; may be repeated",
    )
    add_range(parser)
    _add_form(parser)
    add_privacy(parser)
    _add_repairs(parser)
    add_log(parser)


def _add_form(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rename",
        action="append",
        metavar="NAME=FIELD",
        help="name that the job's record template gives to a Logpush field, such as audit-id=ID; may be repeated",
    )
    parser.add_argument(
        "--fields",
        metavar="FIELD,FIELD",
        help="the columns of CSV files without a header, in their order: the job's field_names",
    )
    parser.add_argument(
        "--reach",
        type=hours,
        default=DEFAULT_REACH,
        metavar="HOURS",
        help="files that were delivered up to this long after the end of the range are read, too; default: 24",
    )
    parser.add_argument(
        "--late-after",
        type=minutes,
        default=DEFAULT_LATE_AFTER,
        metavar="MINUTES",
        help="a record that is delivered more than this long after its event is late; default: 60",
    )


def _add_repairs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--repair-to",
        metavar="URI",
        help="folder beside the archive for the records that the archive lacks; they are written in the form of the "
        "job's files; records that an earlier repair wrote there are not written again",
    )
    parser.add_argument(
        "--pull",
        action="store_true",
        help="land windows of the range that are not committed, and read windows again that lack a row of the archive",
    )
    parser.add_argument(
        "--partition-by", choices=DIVISIONS, default="day", help="length of a window that --pull lands; default: day"
    )
    parser.add_argument("--timezone", default="UTC", metavar="NAME", help="time zone of the windows; default: UTC")
    parser.add_argument("--report-to", metavar="URI", help="folder in which the report is kept")
    parser.add_argument(
        "--signing-key",
        type=Path,
        metavar="FILE",
        help="Ed25519 private key in PEM format that signs the report in the folder of --report-to",
    )


def _reconcile(options: argparse.Namespace) -> CommandResult:
    if options.signing_key and not options.report_to:
        raise ConfigurationError("--signing-key signs the report that is kept. Give --report-to with it, or neither.")
    spec = _spec(options)
    dataset = destination_from_uri(options.destination)
    check_one_version(dataset)
    pulled = _land_range(options, spec) if options.pull else []
    report, repair = _compare(options, dataset, spec, is_last=not options.pull)
    if options.pull and report.missing_here_count:
        pulled += [_pull(options, [*_bounds(one), "--partition-by", "none", "--reread-committed"])
                   for one in report.windows if one.missing_here]  # fmt: skip
        report, repair = _compare(options, dataset, spec, is_last=True)
    values = msgspec.to_builtins(PublishedReconcile(report, report.summary(), repair, pulled, _keep(options, report)))
    status = EXIT_OK if report.is_equal else EXIT_PROBLEM
    return CommandResult(status, report_text(report) + _repair_text(repair), values)


class PublishedReconcile(msgspec.Struct, frozen=True):
    """What ``reconcile --json`` prints; docs/reference/reconcile-report.schema.json is its schema.

    ``repair`` is null without ``--repair-to``, ``report_key`` without ``--report-to``; ``pulled`` has a text for each
    run of ``pull``.
    """

    report: ReconcileReport
    summary: dict[str, int | str | bool]
    repair: RepairOutcome | None
    pulled: list[str]
    report_key: str | None


def _spec(options: argparse.Namespace) -> ReconcileSpec:
    renames: dict[str, str] = {}
    for text in options.rename or ():
        name, equals, field = text.partition("=")
        if not (name and equals and field):
            raise ConfigurationError(f"--rename is {text!r}. Give a name and a Logpush field, such as audit-id=ID.")
        renames[name] = field
    names = tuple(filter(None, (name.strip() for name in (options.fields or "").split(","))))
    start, end = read_bound("--start", options.start), read_bound("--end", options.end)
    spec = ReconcileSpec(start, end, reach=options.reach, late_after=options.late_after, privacy=_privacy(options))
    return spec._replace(form=spec.form._replace(renames=renames, field_names=names))


def _privacy(options: argparse.Namespace) -> PrivacyRule | None:
    given = privacy_of(options)
    if given is None:
        return None
    # Airflow logs to the standard output that it finds when it is imported; that is for the result.
    with redirect_stdout(sys.stderr):
        from airflow_audit_provider._airflow.secrets import open_privacy

        return open_privacy(given)


def _compare(
    options: argparse.Namespace, dataset: Store, spec: ReconcileSpec, *, is_last: bool
) -> tuple[ReconcileReport, RepairOutcome | None]:
    """Returns the report, and what was repaired after it; nothing is if windows are read again and compared anew."""
    # The same folder twice would make every row double.
    archive = [store_from_uri(uri) for uri in {uri.rstrip("/"): uri for uri in options.archive}.values()]
    target = store_from_uri(options.repair_to) if options.repair_to else None
    with closing(SpillFile()) as spill:
        compared = Reconciliation(spec, dataset, spill)
        if target is not None:
            check_can_repair(compared)
        report = compared.run(archive, [] if target is None else [target])
        if target is None or (report.missing_here_count and not is_last):
            return report, None
        return report, repair_archive(compared, target)


def _land_range(options: argparse.Namespace, spec: ReconcileSpec) -> list[str]:
    """Lands what is not committed of the range; a range without bounds has nothing of the kind."""
    if spec.start is None or spec.end is None:
        raise ConfigurationError("--pull lands the windows of a range. Give --start and --end with it.")
    bounds = ["--start", format_instant(spec.start), "--end", format_instant(spec.end)]
    return [_pull(options, [*bounds, "--partition-by", options.partition_by])]


def _bounds(window: object) -> Iterator[str]:
    for name in ("start", "end"):
        yield from (f"--{name}", format_instant(getattr(window, name)))


def _pull(options: argparse.Namespace, arguments: Sequence[str]) -> str:
    """Runs the command ``pull``; returns what it says."""
    parser = argparse.ArgumentParser("pull")
    add_pull(parser.add_subparsers())
    given = ["pull", options.destination, *arguments, "--timezone", options.timezone, "--quiet"]
    for name in ("conn_id", "api_version", "account_id", "organization_id", "scope", "privacy"):
        value = getattr(options, name)
        given += [f"--{name.replace('_', '-')}", value] if value else []
    pull_options = parser.parse_args(given)
    result: CommandResult = pull_options.command(pull_options)
    sys.stderr.write(result.text)
    return result.text.strip()


def _keep(options: argparse.Namespace, report: ReconcileReport) -> str | None:
    """Keeps the report, signed if there is a key; returns its key in the folder."""
    if not options.report_to:
        return None
    signer = Ed25519Signer(read_key_file(options.signing_key)) if options.signing_key else None
    return write_report(store_from_uri(options.report_to), report, signer)


def _repair_text(repair: RepairOutcome | None) -> str:
    if repair is None or not repair.record_count:
        return ""
    files = count_of(repair.file_count + repair.existing_count, "file")
    return f"\nrepaired: {count_of(repair.record_count, 'record')} in {files}\n"
