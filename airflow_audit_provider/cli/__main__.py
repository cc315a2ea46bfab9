"""Arguments → a use case → text or JSON, and an exit status.

Knows: the words of the command line. Must not know: Airflow, what is compared.
Its one rule: 0 says that all is well, 1 that something is wrong or missing, 2 that it could not be found out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import msgspec

from airflow_audit_provider import __version__
from airflow_audit_provider.adapters.clock import SystemClock
from airflow_audit_provider.adapters.signing import Ed25519Signer, Ed25519Verifier
from airflow_audit_provider.adapters.storage.fsspec_store import store_from_uri
from airflow_audit_provider.core.verification.coverage import coverage_table
from airflow_audit_provider.core.verification.findings import findings_table
from airflow_audit_provider.core.windows.run_window import read_bound
from airflow_audit_provider.exceptions import AuditProviderError, ConfigurationError, VerificationError
from airflow_audit_provider.pipelines.coverage import coverage
from airflow_audit_provider.pipelines.seal import seal
from airflow_audit_provider.pipelines.sweep import DEFAULT_AGE, sweep
from airflow_audit_provider.pipelines.verify import TrustAnchors, verify

SOUND, WRONG, UNKNOWN = 0, 1, 2


class Answer(NamedTuple):
    """What a command found: its exit status, and the same facts as text and as plain values."""

    status: int
    text: str
    facts: object


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; print its answer on standard output and errors on standard error; return the exit status."""
    asked = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], Answer] = asked.command
    try:
        answer = command(asked)
    except AuditProviderError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return WRONG if isinstance(error, VerificationError) else UNKNOWN
    print(_as_json(answer.facts) if asked.json else answer.text, end="")
    return answer.status


def _verify(asked: argparse.Namespace) -> Answer:
    verifier = Ed25519Verifier(map(_text_of, asked.public_key)) if asked.public_key else None
    start, end = _range(asked)
    report = verify(store_from_uri(asked.destination), start, end, TrustAnchors(verifier, asked.expect_seal))
    summary = report.summary()
    facts = {**summary, "findings": msgspec.to_builtins(report.findings)}
    counts = "".join(f"{name:20}{fact}\n" for name, fact in summary.items())
    table = findings_table(report.findings) + "\n" if report.findings else ""
    return Answer(WRONG if report.severe_count else SOUND, table + counts, facts)


def _coverage(asked: argparse.Namespace) -> Answer:
    start, end = _range(asked)
    found = coverage(store_from_uri(asked.destination), start, end)
    if found is None:
        return Answer(WRONG, "No window is committed there.\n", None)
    return Answer(WRONG if found.missing else SOUND, coverage_table(found), msgspec.to_builtins(found))


def _seal(asked: argparse.Namespace) -> Answer:
    signer = Ed25519Signer(_text_of(asked.signing_key)) if asked.signing_key else None
    done = seal(store_from_uri(asked.destination), asked.day, signer)
    lines = [f"{made.key}  {made.sha256}  {made.day}, {made.manifest_count} manifests\n" for made in done.created]
    lines.append(f"{len(done.created)} seals created, {done.signed_count} signed; newest {done.newest_seal_sha256}\n")
    table = findings_table(done.findings) if done.findings else ""
    return Answer(WRONG if done.findings else SOUND, table + "".join(lines), msgspec.to_builtins(done))


def _sweep(asked: argparse.Namespace) -> Answer:
    swept = sweep(store_from_uri(asked.destination), SystemClock().now(), asked.older_than, asked.dry_run)
    verb = "found, nothing removed" if asked.dry_run else "removed"
    count = len(swept.keys)
    lines = [*swept.keys, f"{count} objects of dead tries {verb}; {swept.size_bytes} bytes"]
    return Answer(SOUND, "".join(f"{line}\n" for line in lines), {**swept._asdict(), "removed": not asked.dry_run})


def _hours(text: str) -> timedelta:
    try:
        return timedelta(hours=float(text))
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of hours") from error


def _range(asked: argparse.Namespace) -> tuple[datetime | None, datetime | None]:
    return read_bound("--start", asked.start), read_bound("--end", asked.end)


def _text_of(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The key file {path} cannot be read ({error}). Give a PEM file.") from error


def _as_json(facts: object) -> str:
    return msgspec.json.format(msgspec.json.encode(facts), indent=2).decode() + "\n"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="airflow-audit-provider",
        description="Verify, seal, measure and sweep audit logs where they landed. Exit status: 0 all is well, 1 "
        "something is wrong or missing, 2 it could not be found out.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    checking = _command(commands, "verify", _verify, "compare every object with its manifest and with the seals")
    _add_range(checking)
    checking.add_argument("--public-key", type=Path, action="append", metavar="FILE", help="PEM; may be repeated")
    checking.add_argument("--expect-seal", metavar="SHA256", help="digest of a seal that you kept elsewhere")
    _add_range(_command(commands, "coverage", _coverage, "say which parts of a range are committed, empty, missing"))
    sealing = _command(commands, "seal", _seal, "write what is committed into the chain of seals")
    sealing.add_argument("--day", type=date.fromisoformat, metavar="YYYY-MM-DD", help="a UTC date; default: all news")
    sealing.add_argument("--signing-key", type=Path, metavar="FILE", help="Ed25519 private key, PEM, not encrypted")
    sweeping = _command(commands, "sweep", _sweep, "remove what dead tries left, never what is committed")
    sweeping.add_argument(
        "--older-than", type=_hours, default=DEFAULT_AGE, metavar="HOURS", help="without a sign of life; default: 24"
    )
    sweeping.add_argument("--dry-run", action="store_true", help="say what would be removed, and remove nothing")
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    command: Callable[[argparse.Namespace], Answer],
    summary: str,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=summary, description=f"{name}: {summary}.")
    parser.set_defaults(command=command)
    parser.add_argument("destination", help="a folder, or any URL fsspec knows, such as s3://bucket/folder")
    parser.add_argument("--json", action="store_true", help="answer with JSON")
    return parser


def _add_range(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--start", metavar="INSTANT", help="first instant, RFC 3339 or a date; default: from the first")
    parser.add_argument("--end", metavar="INSTANT", help="end, not inside the range; default: to the last")


if __name__ == "__main__":
    sys.exit(main())
