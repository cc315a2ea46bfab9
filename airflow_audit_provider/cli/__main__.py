"""Command line: parses arguments, runs a pipeline, prints text or JSON, returns an exit status.

Invariant: status 0 means nothing severe was found, 1 that something is wrong or missing, 2 that the command could not
be done.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import msgspec

from airflow_audit_provider import __version__
from airflow_audit_provider.adapters.clock import SystemClock
from airflow_audit_provider.adapters.signing import Ed25519Signer
from airflow_audit_provider.adapters.storage.fsspec_store import object_locks_of
from airflow_audit_provider.adapters.storage.lake_store import destination_from_uri
from airflow_audit_provider.cli.arguments import (
    EXIT_OK,
    EXIT_PROBLEM,
    EXIT_UNKNOWN,
    Command,
    CommandResult,
    Commands,
    add_archive_command,
    add_command,
    hours,
)
from airflow_audit_provider.cli.changes_command import add_changes
from airflow_audit_provider.cli.completion_command import PROGRAM, add_completion, complete
from airflow_audit_provider.cli.coverage_command import add_coverage
from airflow_audit_provider.cli.detect_command import add_detect
from airflow_audit_provider.cli.freshness_command import add_freshness
from airflow_audit_provider.cli.load_command import add_load
from airflow_audit_provider.cli.plan_command import add_plan
from airflow_audit_provider.cli.pull_command import add_pull
from airflow_audit_provider.cli.reconcile_command import add_reconcile
from airflow_audit_provider.cli.report_command import add_report
from airflow_audit_provider.cli.terminal import coloured, coloured_error, is_coloured
from airflow_audit_provider.cli.trust import (
    add_public_key,
    add_tsa_certificate,
    read_key_file,
    seal_verifier,
    timestamper,
)
from airflow_audit_provider.cli.verify_command import add_verify
from airflow_audit_provider.core.verification.findings import findings_table, printable, severe
from airflow_audit_provider.core.windows.readiness import whole_windows_start_at
from airflow_audit_provider.core.windows.window import count_of
from airflow_audit_provider.exceptions import (
    AuditProviderError,
    NotCommittedError,
    VerificationError,
)
from airflow_audit_provider.pipelines.observer import KeptPart
from airflow_audit_provider.pipelines.seal import seal
from airflow_audit_provider.pipelines.seal_checks import Acceptance
from airflow_audit_provider.pipelines.stitching import check_one_version
from airflow_audit_provider.pipelines.sweep import DEFAULT_AGE, RetainedFile, sweep

# What is wrong with the archive, or missing in it.
_PROBLEMS = (VerificationError, NotCommittedError)


def main(arguments: Sequence[str] | None = None, program: str = PROGRAM) -> int:
    """Runs one command, prints its result and its errors, and returns the exit status."""
    parser = _parser(program)
    complete(parser)
    options = parser.parse_args(arguments)
    command: Command = options.command
    try:
        result = command(options)
    except AuditProviderError as error:
        text = printable(f"{type(error).__name__}: {error}")
        print(coloured_error(text) if is_coloured(sys.stderr, os.environ) else text, file=sys.stderr)
        return EXIT_PROBLEM if isinstance(error, _PROBLEMS) else EXIT_UNKNOWN
    text = coloured(result.text) if is_coloured(sys.stdout, os.environ) else result.text
    print(_as_json(result.values) if options.json else text, end="")
    return result.status


def _seal(options: argparse.Namespace) -> CommandResult:
    earlier = map(read_key_file, options.public_key or ())
    signer = Ed25519Signer(read_key_file(options.signing_key), earlier) if options.signing_key else None
    stamping = timestamper(options)
    acceptance = Acceptance(frozenset(options.accept_replaced or ()), options.accepted_by or "")
    store = destination_from_uri(options.destination)
    check_one_version(store)
    report = seal(
        store,
        options.day,
        signer,
        acceptance=acceptance,
        timestamper=stamping,
        expected_seal_sha256=options.expect_seal,
    )
    lines = [
        f"{made.key}  {made.sha256}  {made.day}, {count_of(made.manifest_count, 'manifest')}\n"
        for made in report.created
    ]
    lines.append(f"{count_of(len(report.created), 'seal')} created, {report.signed_count} signed, ")
    lines.append(f"{report.timestamped_count} time-stamped; newest {report.newest_seal_sha256}\n")
    table = findings_table(report.findings) if report.findings else ""
    status = EXIT_PROBLEM if severe(report.findings) else EXIT_OK
    return CommandResult(status, table + "".join(lines), msgspec.to_builtins(report))


def _sweep(options: argparse.Namespace) -> CommandResult:
    store = destination_from_uri(options.destination)
    check_one_version(store)
    verifier, locks = seal_verifier(options), object_locks_of(store)
    report = sweep(store, SystemClock().now(), options.older_than, options.dry_run, locks, verifier)
    outcome = "found, none removed" if options.dry_run else "removed"
    lines = [
        *report.keys,
        f"{count_of(len(report.keys), 'orphaned file')} {outcome}; {count_of(report.size_bytes, 'byte')}",
    ]
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
    return [
        *lines,
        f"{count_of(len(retained), 'orphaned file')} {outcome}, kept by the bucket; {count_of(size_bytes, 'byte')}",
    ]


def _kept_lines(kept: Sequence[KeptPart]) -> list[str]:
    counts = Counter(one.reason for one in kept)
    return [f"{count_of(count, 'part')} kept, because {reason}" for reason, count in sorted(counts.items())]


def _oldest_day(_options: argparse.Namespace) -> CommandResult:
    # The next midnight after the oldest readable instant, so that the printed day is whole.
    day = (whole_windows_start_at(SystemClock().now()) + timedelta(days=1)).date().isoformat()
    return CommandResult(EXIT_OK, f"{day}\n", {"oldest_day": day})


def _as_json(values: object) -> str:
    # ASCII, because a name of a local file may have no UTF-8, and because some characters hide text in a terminal.
    return json.dumps(msgspec.to_builtins(values), indent=2) + "\n"


def _parser(program: str = PROGRAM) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program,
        description="Pull, check and load Cloudflare audit logs without a running Airflow. Exit status: 0 if nothing "
        "severe was found, 1 if something is wrong or missing, 2 if the command could not be done.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_verify(commands)
    add_coverage(commands)
    add_freshness(commands)
    add_report(commands)
    add_plan(commands)
    add_pull(commands)
    add_changes(commands)
    add_detect(commands)
    add_load(commands)
    add_reconcile(commands)
    _add_seal(commands)
    _add_sweep(commands)
    add_command(
        commands,
        "oldest-day",
        _oldest_day,
        "print the oldest UTC date that the API still holds completely, as the first day of a backfill",
    )
    add_completion(commands)
    return parser


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
    add_public_key(parser, "public key in PEM format of an earlier signing key, after a change of keys")
    parser.add_argument(
        "--expect-seal",
        metavar="SHA256",
        help="digest of the newest seal, as the previous run printed it; if no seal has this digest, nothing is sealed",
    )
    parser.add_argument("--tsa", metavar="URL", help="time stamp authority (RFC 3161) that stamps each seal")
    add_tsa_certificate(parser)


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
    add_public_key(
        parser,
        "public key in PEM format that checks the signatures of seals; without it, if the seals are signed, parts that "
        "an erasure left behind in a sealed window are kept",
    )


if __name__ == "__main__":
    sys.exit(main())
