"""Arguments that several commands share, and what a command returns.

Invariant: nothing here imports Airflow, so that the parser and the commands for auditors start at once.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeAlias

from airflow_audit_provider.core.windows.run_window import read_bound
from airflow_audit_provider.exceptions import ConfigurationError

EXIT_OK, EXIT_PROBLEM, EXIT_UNKNOWN = 0, 1, 2
# What a shell reports for a command that a signal has ended is this and the signal's number.
SIGNAL_STATUS = 128
# Choice of --partition-by for a range that is one window.
WHOLE_RANGE = "none"


class CommandResult(NamedTuple):
    """Exit status of a command, and its result as text and as plain values."""

    status: int
    text: str
    values: object


Command: TypeAlias = Callable[[argparse.Namespace], CommandResult]
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - it has no public name


def hours(text: str) -> timedelta:
    """Returns a length given as a number of hours."""
    try:
        return timedelta(hours=float(text))
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of hours") from error


def minutes(text: str) -> timedelta:
    """Returns a length given as a number of minutes."""
    try:
        return timedelta(minutes=float(text))
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of minutes") from error


def json_object(name: str, text: str | None, example: str) -> dict[str, Any] | None:
    """Returns the object that an argument has as JSON, None without the argument."""
    try:
        given = None if text is None else json.loads(text)
    except ValueError:
        given = text
    if given is None or isinstance(given, dict):
        return given
    raise ConfigurationError(f"{name} is not a JSON object. Give it as the land operator has it, such as {example}.")


def add_privacy(parser: argparse.ArgumentParser) -> None:
    """Adds the privacy rule; its key is in a connection, because other users of the machine can read arguments."""
    parser.add_argument(
        "--privacy",
        metavar="JSON",
        help="privacy rule as a JSON object, as in the argument privacy of the land operator; the entry conn_id of the "
        "rule names the Airflow connection that holds the key, for example from AIRFLOW_CONN_{CONN_ID}",
    )


def privacy_of(options: argparse.Namespace) -> dict[str, Any] | None:
    """Returns the rule that the argument of :func:`add_privacy` gives."""
    return json_object("--privacy", options.privacy, '{"drop": ["metadata"]}')


def add_conn_id(parser: argparse.ArgumentParser) -> None:
    """Adds the argument that names the connection to Cloudflare."""
    parser.add_argument(
        "--conn-id",
        metavar="ID",
        help="Airflow connection of type cloudflare, for example from AIRFLOW_CONN_CLOUDFLARE_DEFAULT; default: the "
        "token in CLOUDFLARE_API_TOKEN, else cloudflare_default",
    )


def add_log(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that name an audit log and the connection to it."""
    add_conn_id(parser)
    parser.add_argument("--api-version", choices=("v1", "v2"), help="version of the API")
    parser.add_argument("--account-id", metavar="ID", help="account whose log is read")
    parser.add_argument("--organization-id", metavar="ID", help="organization whose log is read")
    parser.add_argument(
        "--scope",
        choices=("account", "user", "organization"),
        help="whose log; without --api-version, --account-id, --organization-id and --scope: the log that the "
        "destination holds, else that of the connection",
    )


def add_archive_command(commands: Commands, name: str, command: Command, summary: str) -> argparse.ArgumentParser:
    """Adds a command that works on a destination."""
    parser = add_command(commands, name, command, summary)
    parser.add_argument(
        "destination", help="folder with the audit logs, or a URL that fsspec can open, such as s3://bucket/folder"
    )
    return parser


def add_command(commands: Commands, name: str, command: Command, summary: str) -> argparse.ArgumentParser:
    """Adds a command with the option ``--json``."""
    parser = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
    parser.set_defaults(command=command)
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    return parser


def add_range(parser: argparse.ArgumentParser) -> None:
    """Adds the bounds of a range of committed windows."""
    parser.add_argument(
        "--start", metavar="TIME", help="start of the range, a date or RFC 3339 time; default: the first window"
    )
    parser.add_argument(
        "--end", metavar="TIME", help="end of the range, exclusive, a date or RFC 3339 time; default: the last window"
    )


def range_of(options: argparse.Namespace) -> tuple[datetime | None, datetime | None]:
    """Returns the bounds that the arguments of :func:`add_range` give."""
    return read_bound("--start", options.start), read_bound("--end", options.end)
