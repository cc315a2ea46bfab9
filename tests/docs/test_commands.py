"""The programs accept the commands in the pages, and the pages show every example and every picture."""

from __future__ import annotations

import re
import shlex

import pytest

from airflow_audit_provider.cli.__main__ import _parser as cli_parser
from airflow_audit_provider.testing.__main__ import _parser as fake_parser
from tests.architecture.source_files import PROJECT
from tests.docs.blocks import commands_of, documents

PICTURES = PROJECT / "docs" / "pictures"
PROGRAMS = {
    "airflow-audit-provider ": cli_parser,
    "python -m airflow_audit_provider.testing ": fake_parser,
}
COMMANDS = sorted({command for path in documents() for command in commands_of(path.read_text(encoding="utf-8"))})
PARSED = [(command, name) for command in COMMANDS for name in PROGRAMS if command.startswith(name)]


@pytest.mark.parametrize(("command", "program"), PARSED, ids=[command for command, _ in PARSED])
def test_command_is_accepted(command: str, program: str) -> None:
    """The program's own parser accepts the arguments."""
    PROGRAMS[program]().parse_args(shlex.split(command.removeprefix(program)))


def test_wrong_option_is_refused() -> None:
    """An option that a program does not have is an error."""
    with pytest.raises(SystemExit):
        cli_parser().parse_args(["verify", "/data", "--no-such-option"])


def test_commands_are_found() -> None:
    """A command can continue on the next line, and can have a comment."""
    text = "```console\n$ make demo    # a while\nout\n$ a --b \\\n    c\n```\n"
    assert list(commands_of(text)) == ["make demo", "a --b c"]
    assert len(PARSED) >= 8


def test_make_targets_exist() -> None:
    """Each `make` command of a console block is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {command.split()[1] for command in COMMANDS if command.startswith("make ")}
    assert named
    assert named <= targets


def test_every_example_dag_is_shown() -> None:
    """The page of examples includes each DAG file."""
    page = (PROJECT / "docs" / "reference" / "example-dags.md").read_text(encoding="utf-8")
    shown = set(re.findall(r'^--8<-- "(.+)"$', page, re.MULTILINE))
    assert {path.relative_to(PROJECT).as_posix() for path in PROJECT.glob("dags/*.py")} == shown


def test_pictures_are_small_and_shown() -> None:
    """Each PNG is smaller than 80 kB and is on a page."""
    pages = "".join(path.read_text(encoding="utf-8") for path in documents())
    for path in PICTURES.glob("*.png"):
        assert path.stat().st_size < 80_000, path.name
        assert f"pictures/{path.name})" in pages, path.name
