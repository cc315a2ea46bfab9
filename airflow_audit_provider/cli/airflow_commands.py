"""The command ``airflow cloudflare-audit``: this package's commands below Airflow's own.

Airflow 3.2 and later call :func:`get_commands` at each start of ``airflow``, so this module imports nothing of the
package that is not needed to name the command. Older versions do not read the declaration, and have no such command.

Invariant: what follows ``airflow cloudflare-audit`` is parsed by the package's own parser, so that both commands have
the same options and exit status.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.cli.cli_config import ActionCommand

NAME = "cloudflare-audit"
_HELP = "Pull, check and load Cloudflare audit logs"
_DESCRIPTION = (
    "Runs a command of airflow-audit-provider: `airflow cloudflare-audit coverage DESTINATION` is the same as "
    "`airflow-audit-provider coverage DESTINATION`. `airflow cloudflare-audit help` lists the commands."
)


def get_commands() -> list[ActionCommand]:
    """Returns the command for Airflow's parser, which takes all that follows as it is."""
    from airflow.cli.cli_config import ActionCommand, Arg

    words = Arg(("words",), nargs=argparse.REMAINDER, help="the command and its options", metavar="COMMAND")
    return [ActionCommand(name=NAME, help=_HELP, description=_DESCRIPTION, func=run, args=(words,))]


def run(options: argparse.Namespace) -> None:
    """Runs the command, and ends the process with its exit status."""
    from airflow_audit_provider.cli.__main__ import main

    words = ["--help"] if options.words in ([], ["help"]) else options.words
    sys.exit(main(words, f"airflow {NAME}"))
