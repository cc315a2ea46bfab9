"""Names of files that are not printable: they hide nothing from who reads the output, and stop no command."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from airflow_audit_provider.adapters.storage.local_store import LocalStore
from airflow_audit_provider.cli.__main__ import main
from airflow_audit_provider.core.verification.findings import as_table, printable
from tests.pipelines.verify.dataset import two_days

NAMES = {
    "line break": b"x\nsevere_count        0",
    "escape sequence": b"\x1b[2J\x1b[1;1H",
    "no UTF-8": b"\xff",
    "right to left": "\u202e\u009b2J".encode(),
}


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> bytes:
    """A name that is not printable."""
    return NAMES[request.param]


@pytest.fixture
def archives(tmp_path: Path, name: bytes) -> Path:
    """A folder with one dataset, whose folder has that name, as have a file among the parts and one in staging."""
    folder = tmp_path / os.fsdecode(name)
    two_days(LocalStore(str(folder)))
    staged = folder / "_staging/20261026T000000Z-20261026T120000Z/dead"
    staged.mkdir(parents=True)
    for parent in (folder / "dt=2026-10-26", staged):
        (parent / os.fsdecode(name)).write_bytes(b"x")
    return tmp_path


@pytest.mark.integration
@pytest.mark.parametrize(
    "arguments", [["verify"], ["coverage"], ["sweep", "--dry-run"], ["seal"]], ids=lambda given: given[0]
)
def test_output_has_only_printable_lines(
    archives: Path, name: bytes, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """What is not printable in a name appears as an escape, so it ends no line and moves no cursor."""
    command, *options = arguments
    folder = archives if command == "coverage" else archives / os.fsdecode(name)
    main([command, str(folder), *options])
    printed = capsys.readouterr()
    assert printable(os.fsdecode(name)) in printed.out or command == "seal"
    for line in f"{printed.out}{printed.err}".rstrip("\n").split("\n"):
        assert line.isprintable()


@pytest.mark.integration
@pytest.mark.parametrize("command", ["verify", "coverage", "sweep"])
def test_json_holds_every_name_in_ascii(
    archives: Path, name: bytes, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The names are in the JSON as they are, also without UTF-8."""
    main([command, str(archives if command == "coverage" else archives / os.fsdecode(name)), "--json"])
    out = capsys.readouterr().out
    assert out.isascii()
    report = json.loads(out)
    if command == "verify":
        named = [one["key"] for one in report["findings"] if one["severity"] == "severe"]
    else:
        named = [one["folder"].rstrip("/") for one in report["datasets"]] if command == "coverage" else report["keys"]
    assert [os.fsencode(one).endswith(name) for one in named] == [True]


def test_error_is_printed_in_one_line(name: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An error that quotes a name has an escape for each character that is not printable."""
    assert main(["verify", str(tmp_path), "--public-key", os.fsdecode(name)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.isprintable()


def test_table_has_one_line_for_each_row(name: bytes) -> None:
    """A cell that is not printable is as wide as its escapes."""
    text = os.fsdecode(name)
    heading, row = as_table([("key", "detail"), (text, "x")]).splitlines()
    assert row == f"{printable(text)}  x"
    assert heading.index("detail") == row.index("  x") + 2
