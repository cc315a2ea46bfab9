"""A shell completes the commands and options with the code that the command prints."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from airflow_audit_provider.cli.__main__ import main

# What readline does for the tabulator: it sets these variables, and calls the function that the code registered.
PRESS_TAB = """
eval "$(airflow-audit-provider completion bash)"
COMP_LINE="airflow-audit-provider $1"
COMP_POINT=${#COMP_LINE}
COMP_TYPE=9
words=$(complete -p airflow-audit-provider)
[[ $words =~ -F\\ ([a-z_]+) ]] && "${BASH_REMATCH[1]}" airflow-audit-provider
printf '%s\\n' "${COMPREPLY[@]}"
"""


def completions(line: str) -> set[str]:
    """Returns what bash offers after the command's name and the text."""
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    command = ["bash", "--norc", "--noprofile", "-c", PRESS_TAB, "bash", line]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
    return {word.strip() for word in answer.stdout.splitlines()}


@pytest.mark.integration
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("cov", {"coverage"}),
        ("plan --div", {"--division"}),
        ("plan --division ", {"hour", "day", "month"}),
        ("completion b", {"bash"}),
    ],
)
def test_bash_completes_commands_options_and_choices(line: str, expected: set[str]) -> None:
    """A real bash offers the rest of a command or an option, and the choices of an option."""
    assert expected <= completions(line)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_code_is_printed_for_each_shell(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The code of each shell registers the command's name."""
    assert main(["completion", shell]) == 0
    assert "airflow-audit-provider" in capsys.readouterr().out
