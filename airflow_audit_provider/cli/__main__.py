"""Command line: parses arguments, runs a pipeline, prints text or JSON, returns an exit status.

Invariant: status 0 means nothing severe was found, 1 that something is wrong or missing, 2 that the command could not
be done.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import redirect_stdout
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path

import msgspec

from airflow_audit_provider import __version__
from airflow_audit_provider.adapters.clock import SystemClock
from airflow_audit_provider.adapters.signing import Ed25519Signer, Ed25519Verifier
from airflow_audit_provider.adapters.storage.fsspec_store import object_locks_of, require_object_locks, store_from_uri
from airflow_audit_provider.adapters.timestamps import CertificateVerifier, HttpTimestamper, TimestampAuthority
from airflow_audit_provider.cli.arguments import (
    EXIT_OK,
    EXIT_PROBLEM,
    EXIT_UNKNOWN,
    Command,
    CommandResult,
    Commands,
    add_archive_command,
    add_command,
    add_log,
    add_range,
    hours,
    minutes,
)
from airflow_audit_provider.cli.load_command import add_load
from airflow_audit_provider.cli.pull_command import add_pull
from airflow_audit_provider.core.archive.object_keys import DATASET_KEY
from airflow_audit_provider.core.limits import DEFAULT_SETTLE_DELAY, EDGES, NO_VERIFICATION, RECOUNT
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.verification.coverage import coverage_table
from airflow_audit_provider.core.verification.findings import findings_table, printable, severe
from airflow_audit_provider.core.verification.object_locks import read_lock_date
from airflow_audit_provider.core.verification.pass_records import verified_line
from airflow_audit_provider.core.verification.timestamps import seal_times_table
from airflow_audit_provider.core.windows.division import DIVISIONS
from airflow_audit_provider.core.windows.readiness import whole_windows_start_at
from airflow_audit_provider.core.windows.run_window import read_bound
from airflow_audit_provider.exceptions import (
    AuditProviderError,
    ConfigurationError,
    NotCommittedError,
    StorageError,
    VerificationError,
)
from airflow_audit_provider.pipelines.coverage import DatasetCoverage, coverage
from airflow_audit_provider.pipelines.observer import KeptPart
from airflow_audit_provider.pipelines.pass_records import record_pass
from airflow_audit_provider.pipelines.seal import seal
from airflow_audit_provider.pipelines.seal_checks import Acceptance
from airflow_audit_provider.pipelines.stitched_verify import StitchedStores, verify_stitched
from airflow_audit_provider.pipelines.stitching import check_one_version, held_stitching
from airflow_audit_provider.pipelines.sweep import DEFAULT_AGE, RetainedFile, sweep
from airflow_audit_provider.pipelines.verify import LockCheck, TrustAnchors, VerifyReport, verify

# What is wrong with the archive, or missing in it.
_PROBLEMS = (VerificationError, NotCommittedError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command, prints its result and its errors, and returns the exit status."""
    options = _parser().parse_args(arguments)
    command: Command = options.command
    try:
        result = command(options)
    except AuditProviderError as error:
        print(printable(f"{type(error).__name__}: {error}"), file=sys.stderr)
        return EXIT_PROBLEM if isinstance(error, _PROBLEMS) else EXIT_UNKNOWN
    print(_as_json(result.values) if options.json else result.text, end="")
    return result.status


def _verify(options: argparse.Namespace) -> CommandResult:
    start, end = _range(options)
    store, anchors = store_from_uri(options.destination), _trust_anchors(options)
    stitching = held_stitching(store)
    if stitching is None:
        report = verify(store, start, end, anchors, _lock_check(options, store))
        passed: list[tuple[Store, VerifyReport]] = [] if options.no_record else [(store, report)]
    else:
        stores = StitchedStores(store, partial(_stream_store, options.destination))
        found = verify_stitched(stores, stitching, (start, end), anchors, partial(_lock_check, options))
        report, is_recorded = found.whole, not (options.no_record or found.whole.severe_count)
        passed = [(stores.open_stream(name), one) for name, one in found.streams.items() if is_recorded]
    for verified_store, verified in passed:
        _record_pass(verified_store, verified)
    summary = report.summary()
    values = msgspec.to_builtins(report.published())
    counts = "".join(f"{name:20}{value}\n" for name, value in summary.items())
    table = findings_table(report.findings) + "\n" if report.findings else ""
    text = table + seal_times_table(report.seals) + counts
    return CommandResult(EXIT_PROBLEM if report.severe_count else EXIT_OK, text, values)


def _stream_store(destination: str, version: str) -> Store:
    return store_from_uri(f"{destination.rstrip('/')}/{version}")


def _lock_check(options: argparse.Namespace, store: Store) -> LockCheck | None:
    until = read_lock_date("--expect-lock", options.expect_lock, SystemClock().now())
    return LockCheck(require_object_locks(store), until) if until is not None else None


def _record_pass(store: Store, report: VerifyReport) -> None:
    """Leaves a record of a verification that passed; a destination that is not writable only gets a message."""
    record = report.passed(SystemClock().now())
    if record is None:
        return
    try:
        record_pass(store, record)
    except StorageError as error:
        print(printable(f"The result is not recorded in the destination. {error}"), file=sys.stderr)


def _coverage(options: argparse.Namespace) -> CommandResult:
    start, end = _range(options)
    store, now = store_from_uri(options.destination), SystemClock().now()
    found = coverage(store, now, start, end, options.settle_delay, write_index=options.write_index)
    values = {"datasets": [msgspec.to_builtins(one) for one in found]}
    stitching = held_stitching(store)
    values |= {} if stitching is None else {"stitched": msgspec.to_builtins(stitching)}
    head = "" if stitching is None else printable(f"Stitched history: {stitching}") + "\n"
    text = head + "\n".join(_coverage_text(one) for one in found) or "The destination holds no committed window.\n"
    is_complete = bool(found) and all(one.is_complete for one in found)
    return CommandResult(EXIT_OK if is_complete else EXIT_PROBLEM, text, values)


def _coverage_text(found: DatasetCoverage) -> str:
    folder, dataset = printable(found.folder), printable(str(found.dataset))
    descriptor = "" if found.has_descriptor else f"The dataset descriptor {folder}{DATASET_KEY} is missing.\n"
    findings = findings_table(found.findings) if found.findings else ""
    text = f"{folder or './'}: {dataset}\n{descriptor}{findings}{coverage_table(found.coverage)}"
    return text + verified_line(found.verified)


def _seal(options: argparse.Namespace) -> CommandResult:
    earlier = map(_read_key_file, options.public_key or ())
    signer = Ed25519Signer(_read_key_file(options.signing_key), earlier) if options.signing_key else None
    timestamper = _timestamper(options)
    acceptance = Acceptance(frozenset(options.accept_replaced or ()), options.accepted_by or "")
    store = store_from_uri(options.destination)
    check_one_version(store)
    report = seal(
        store,
        options.day,
        signer,
        acceptance=acceptance,
        timestamper=timestamper,
        expected_seal_sha256=options.expect_seal,
    )
    lines = [f"{made.key}  {made.sha256}  {made.day}, {made.manifest_count} manifests\n" for made in report.created]
    lines.append(f"{len(report.created)} seals created, {report.signed_count} signed, ")
    lines.append(f"{report.timestamped_count} time-stamped; newest {report.newest_seal_sha256}\n")
    table = findings_table(report.findings) if report.findings else ""
    status = EXIT_PROBLEM if severe(report.findings) else EXIT_OK
    return CommandResult(status, table + "".join(lines), msgspec.to_builtins(report))


def _sweep(options: argparse.Namespace) -> CommandResult:
    store = store_from_uri(options.destination)
    check_one_version(store)
    verifier, locks = _verifier(options), object_locks_of(store)
    report = sweep(store, SystemClock().now(), options.older_than, options.dry_run, locks, verifier)
    outcome = "found, none removed" if options.dry_run else "removed"
    lines = [*report.keys, f"{len(report.keys)} orphaned files {outcome}; {report.size_bytes} bytes"]
    if report.retained:
        lines += _retained_lines(report.retained, options.dry_run)
    if report.kept:
        lines += [*(f"{one.key}  kept" for one in report.kept), *_kept_lines(report.kept)]
    values = {**report._asdict(), "retained": [one._asdict() for one in report.retained]}
    values |= {"kept": [one._asdict() for one in report.kept], "removed": not options.dry_run}
    return CommandResult(EXIT_OK, "".join(f"{printable(line)}\n" for line in lines), values)


def _retained_lines(retained: Sequence[RetainedFile], is_dry_run: bool) -> list[str]:
    lines = [f"{one.key}  kept until {one.until or 'its legal hold is removed'}" for one in retained]
    outcome = "found" if is_dry_run else "hidden, not removed"
    size_bytes = sum(one.size_bytes for one in retained)
    return [*lines, f"{len(retained)} orphaned files {outcome}: the bucket keeps them; {size_bytes} bytes"]


def _kept_lines(kept: Sequence[KeptPart]) -> list[str]:
    counts = Counter(one.reason for one in kept)
    return [f"{count} parts kept, because {reason}" for reason, count in sorted(counts.items())]


def _oldest_day(_options: argparse.Namespace) -> CommandResult:
    # The next midnight after the oldest readable instant, so that the printed day is whole.
    day = (whole_windows_start_at(SystemClock().now()) + timedelta(days=1)).date().isoformat()
    return CommandResult(EXIT_OK, f"{day}\n", {"oldest_day": day})


def _plan(options: argparse.Namespace) -> CommandResult:
    # Airflow logs to the standard output that it finds when it is imported; that is for the result.
    with redirect_stdout(sys.stderr):
        from airflow_audit_provider.cli.planning import make_plan

        plan = make_plan(options)
    return CommandResult(EXIT_PROBLEM if plan.is_obstructed else EXIT_OK, plan.text(), msgspec.to_builtins(plan))


def _range(options: argparse.Namespace) -> tuple[datetime | None, datetime | None]:
    return read_bound("--start", options.start), read_bound("--end", options.end)


def _trust_anchors(options: argparse.Namespace) -> TrustAnchors:
    return TrustAnchors(
        _verifier(options),
        options.expect_seal,
        CertificateVerifier(map(_read_key_file, options.tsa_certificate)) if options.tsa_certificate else None,
        options.sealed_within,
    )


def _verifier(options: argparse.Namespace) -> Ed25519Verifier | None:
    return Ed25519Verifier(map(_read_key_file, options.public_key)) if options.public_key else None


def _timestamper(options: argparse.Namespace) -> HttpTimestamper | None:
    certificates = tuple(map(_read_key_file, options.tsa_certificate or ()))
    return HttpTimestamper(TimestampAuthority(options.tsa, certificates=certificates)) if options.tsa else None


def _read_key_file(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The key file {path} cannot be read ({error}). Pass a key in PEM format.") from error


def _as_json(values: object) -> str:
    # ASCII, because a name of a local file may have no UTF-8, and because some characters hide text in a terminal.
    return json.dumps(msgspec.to_builtins(values), indent=2) + "\n"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="airflow-audit-provider",
        description="Pull, check and load Cloudflare audit logs without a running Airflow. Exit status: 0 if nothing "
        "severe was found, 1 if something is wrong or missing, 2 if the command could not be done.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_verify(commands)
    _add_coverage(commands)
    _add_plan(commands)
    add_pull(commands)
    add_load(commands)
    _add_seal(commands)
    _add_sweep(commands)
    add_command(
        commands,
        "oldest-day",
        _oldest_day,
        "print the oldest UTC date that the API still holds completely, as the first day of a backfill",
    )
    return parser


def _add_verify(commands: Commands) -> None:
    summary = "compare every file with its manifest, and every manifest with the seals"
    parser = add_archive_command(commands, "verify", _verify, summary)
    add_range(parser)
    _add_public_key(parser, "public key in PEM format that checks the signatures of seals")
    parser.add_argument(
        "--expect-seal",
        metavar="SHA256",
        help="SHA-256 digest of a seal that must exist; keep the digest outside the store",
    )
    parser.add_argument(
        "--expect-lock",
        metavar="TIME",
        help="date or RFC 3339 time until which the S3 bucket must lock every file; files that are not locked until "
        "then are listed",
    )
    parser.add_argument(
        "--no-record", action="store_true", help="do not write a record of a passed verification to the destination"
    )
    _add_tsa_certificate(parser)
    parser.add_argument(
        "--sealed-within",
        type=hours,
        metavar="HOURS",
        help="the first seal of each window must be proved by a time stamp, its own or that of a later seal; the time "
        "in it must be at most this many hours after the end of the UTC day on which the window starts, or after the "
        "end of the window if that is later",
    )


def _add_public_key(parser: argparse.ArgumentParser, meaning: str) -> None:
    parser.add_argument("--public-key", type=Path, action="append", metavar="FILE", help=f"{meaning}; may be repeated")


def _add_tsa_certificate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tsa-certificate",
        type=Path,
        action="append",
        metavar="FILE",
        help="root certificate of the time stamp authority in PEM format, to verify its time stamps; may be repeated",
    )


def _add_coverage(commands: Commands) -> None:
    summary = "list which spans of a time range are committed, pending or missing, for each dataset in a folder"
    parser = add_archive_command(commands, "coverage", _coverage, summary)
    add_range(parser)
    parser.add_argument(
        "--settle-delay",
        type=minutes,
        default=DEFAULT_SETTLE_DELAY,
        metavar="MINUTES",
        help="a gap that ended less than this ago, or is in a window that has not ended, is pending, not missing; "
        "default: 15",
    )
    parser.add_argument(
        "--write-index",
        action="store_true",
        help="write copies of the manifests that were read below _manifest_index/, so that the next run reads one file "
        "a month",
    )


def _add_plan(commands: Commands) -> None:
    summary = "estimate what a backfill of the missing windows needs, and say what is lost and what expires"
    parser = add_archive_command(commands, "plan", _plan, summary)
    parser.add_argument(
        "--start", metavar="TIME", help="start of the range, a date or RFC 3339 time; default: the oldest whole window"
    )
    parser.add_argument(
        "--end", metavar="TIME", help="end of the range, exclusive; default: the end of the last settled window"
    )
    add_log(parser)
    parser.add_argument(
        "--division", choices=DIVISIONS, help="length of a window, as the schedule of the DAG; default: day"
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
        help="how many pages of the log may be requested, 6 to 300; three times as many if the backfill needs more "
        "than a hundred times as many; default: 30",
    )
    parser.add_argument("--verify", choices=(EDGES, RECOUNT, NO_VERIFICATION), help="verify of the landing operator")
    parser.add_argument("--concurrency", type=int, metavar="COUNT", help="concurrency of that operator; default: 6")
    parser.add_argument("--dag-id", metavar="ID", help="DAG of the backfill; default: cloudflare_audit_backfill")


def _add_seal(commands: Commands) -> None:
    parser = add_archive_command(commands, "seal", _seal, "add the committed manifests to the chain of seals")
    parser.add_argument(
        "--day",
        type=date.fromisoformat,
        metavar="YYYY-MM-DD",
        help="UTC date to seal; default: every day that has manifests without a seal",
    )
    parser.add_argument(
        "--signing-key", type=Path, metavar="FILE", help="Ed25519 private key in PEM format, without a passphrase"
    )
    parser.add_argument(
        "--accept-replaced",
        action="append",
        metavar="KEY",
        help="key of a manifest that replaces a sealed window, and that you accept; may be repeated",
    )
    parser.add_argument("--accepted-by", metavar="NAME", help="who accepts the replacement; the seal records it")
    _add_public_key(parser, "public key in PEM format of an earlier signing key, after a change of keys")
    parser.add_argument(
        "--expect-seal",
        metavar="SHA256",
        help="digest of the newest seal, as the previous run printed it; if no seal has this digest, nothing is sealed",
    )
    parser.add_argument("--tsa", metavar="URL", help="time stamp authority (RFC 3161) that stamps each seal")
    _add_tsa_certificate(parser)


def _add_sweep(commands: Commands) -> None:
    summary = "delete files that abandoned attempts left behind; committed files are never deleted"
    parser = add_archive_command(commands, "sweep", _sweep, summary)
    parser.add_argument(
        "--older-than",
        type=hours,
        default=DEFAULT_AGE,
        metavar="HOURS",
        help="remove only files of attempts that were not active for this many hours; default: 24",
    )
    parser.add_argument("--dry-run", action="store_true", help="list the files and delete nothing")
    _add_public_key(
        parser,
        "public key in PEM format that checks the signatures of seals; without it, erased parts of signed windows stay",
    )


if __name__ == "__main__":
    sys.exit(main())
