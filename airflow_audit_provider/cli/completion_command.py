"""Shell completion: the command ``completion``, which prints the code for a shell, and the answers to that code.

Invariant: a run that is not for a completion does not import the library of completions.
"""

from __future__ import annotations

import argparse
import os

from airflow_audit_provider.cli.arguments import EXIT_OK, CommandResult, Commands, add_command

PROGRAM = "airflow-audit-provider"
_SHELLS = ("bash", "zsh", "fish", "powershell")


def add_completion(commands: Commands) -> None:
    """Adds the command ``completion``."""
    summary = "print the code that makes a shell complete commands, options and files after this command's name"
    parser = add_command(commands, "completion", _completion, summary)
    parser.add_argument(
        "shell", choices=_SHELLS, help='the shell; for bash, run: eval "$(airflow-audit-provider completion bash)"'
    )


def complete(parser: argparse.ArgumentParser) -> None:
    """Answers a shell that asks for completions, and ends the process; does nothing in any other run."""
    # The code that `completion` prints sets this variable when it asks for completions.
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser)


def _completion(options: argparse.Namespace) -> CommandResult:
    from argcomplete.shell_integration import shellcode

    # The code only registers the program, which names the commands and options when the user presses the Tab key.
    code = shellcode([PROGRAM], shell=options.shell)
    return CommandResult(EXIT_OK, f"{code.rstrip()}\n", {"shell": options.shell, "code": code})
