"""Results have colours on a terminal, and the same text without them elsewhere."""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path

import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.cli.__main__ import main
from airflow_audit_provider.cli.terminal import coloured, is_coloured
from tests.pipelines.verify.dataset import commit, two_days, window

RED, GREEN = "\x1b[31m", "\x1b[32m"


class Screen(StringIO):
    """Text output that says it is a terminal."""

    def isatty(self) -> bool:
        """Returns true."""
        return True


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    """Two landed days, a day that is missing, and a later window; with an object that nobody knows."""
    store = LocalStore(str(tmp_path / "audit"))
    two_days(store)
    commit(store, window(5), [])
    part = next((tmp_path / "audit").glob("dt=*/window=*/part-0001*"))
    part.write_bytes(part.read_bytes() + b"\n")
    return tmp_path / "audit"


@pytest.mark.parametrize(
    ("output", "environment", "expected"),
    [
        (Screen(), {}, True),
        (StringIO(), {}, False),
        (Screen(), {"TERM": "dumb"}, False),
        (Screen(), {"NO_COLOR": "1"}, False),
        (Screen(), {"NO_COLOR": ""}, True),
        (StringIO(), {"FORCE_COLOR": "1"}, True),
        (StringIO(), {"FORCE_COLOR": ""}, False),
        (Screen(), {"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
    ],
)
def test_colours_are_on_for_a_terminal_unless_a_variable_decides(
    output: StringIO, environment: dict[str, str], expected: bool
) -> None:
    """A terminal has colours; NO_COLOR switches them off, FORCE_COLOR on, and an empty variable does nothing."""
    assert is_coloured(output, environment) is expected


def test_result_with_colours_has_the_same_text(
    destination: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """States and severities are coloured at their places, and the rest is as without colours."""
    for arguments, expected in (
        (["coverage", str(destination)], (f" {GREEN}committed\x1b[0m ", f" {RED}missing\x1b[0m ")),
        (["verify", str(destination)], (f"{RED}severe\x1b[0m ", f"severe_count        {RED}1\x1b[0m")),
    ):
        monkeypatch.delenv("FORCE_COLOR", raising=False)
        assert main(arguments) == 1
        plain = capsys.readouterr().out
        monkeypatch.setenv("FORCE_COLOR", "1")
        assert main(arguments) == 1
        found = capsys.readouterr().out
        assert "\x1b" not in plain
        assert all(part in found for part in expected), found
        assert re.sub(r"\x1b\[\d+m", "", found) == plain


def test_json_has_no_colours(
    destination: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A program that reads JSON gets none, also if colours are forced."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert main(["coverage", str(destination), "--json"]) == 1
    assert "\x1b" not in capsys.readouterr().out


def test_words_elsewhere_have_no_colours() -> None:
    """A name of a file or folder that is a word of a state stays as it is."""
    text = "missing/: API version v1\nthe severe folder is lost\n"
    assert coloured(text) == text


def test_name_of_an_error_is_coloured(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The error output has the name in colour, and the sentence as it is."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert main(["coverage", "nosuch://x"]) == 2
    assert capsys.readouterr().err.startswith(f"{RED}ConfigurationError\x1b[0m: ")
