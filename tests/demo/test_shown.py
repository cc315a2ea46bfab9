"""The demo's output fits its width, with and without color and Unicode."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from demo import queries
from demo.chart import bars
from demo.tables import answer_table, windows_table
from harness.landed import landed_windows
from tests.demo.landed_tree import DAY, land, record

COUNTS = {"2026-11-08": (0, 0), "2026-11-09": (1500, 20), "2026-11-10": (700, 350)}


def drawn(renderable: object, width: int = 100) -> list[str]:
    """Returns the lines of a renderable at a width, without color."""
    sink = io.StringIO()
    Console(file=sink, width=width, no_color=True).print(renderable)
    return sink.getvalue().splitlines()


@pytest.mark.parametrize("width", [40, 60, 100])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_bars_fit_and_carry_their_numbers(width: int, *, ascii_only: bool) -> None:
    """No line is wider than the limit, the fullest day uses the width, and an empty day has no bar."""
    lines = [line.plain for line in bars(COUNTS, width=width, ascii_only=ascii_only)]
    assert all(len(line) <= width for line in lines)
    assert "1,520 (20)" in lines[1]
    assert len(lines[1]) >= width - 6
    assert lines[0].split() == ["2026-11-08", "0", "(0)"]
    assert not ascii_only or all(line.isascii() for line in lines)


def test_bars_of_nothing_are_nothing() -> None:
    """Without days there are no lines, and a day without records has no bar."""
    assert bars({}, width=100) == []
    assert "█" not in bars({"2026-11-08": (0, 0)}, width=100)[0].plain


@pytest.mark.parametrize("status", ["equal, every byte", "3 differences"])
def test_windows_table_has_one_row_for_each_window(tmp_path: Path, status: str) -> None:
    """Each window's row has its counts, the start of its digest and its status, within 100 columns."""
    land(tmp_path, "jsonl", [record(1), record(2)])
    windows = landed_windows(tmp_path / "jsonl")
    lines = drawn(windows_table(windows, {("jsonl", DAY): status}))
    row = next(line for line in lines if DAY in line)
    assert all(text in row for text in ("jsonl", " 2 ", windows[0].digest[:16], status))
    assert all(len(line) <= 100 for line in lines)


@pytest.mark.integration
def test_queries_answer_over_landed_files(tmp_path: Path) -> None:
    """Each query reads the landed files, with dt from the path."""
    lines = [record(1), record(2, result=False), record(3)]
    for each in ("jsonl", "parquet"):
        land(tmp_path, each, lines)
    assert queries.ask(queries.ACTORS, tmp_path).rows[0] == ("user1@example.com", 2, 0, 1, DAY)
    assert queries.ask(queries.ACTIONS, tmp_path).rows == [("rec_add", "DNS_record", 3, 1, 1)]
    assert queries.refused_per_day(tmp_path) == {DAY: (2, 1)}


def test_answer_table_prints_numbers_with_separators() -> None:
    """Numbers are grouped by thousands."""
    assert any("12,345" in line for line in drawn(answer_table(["n"], [(12345,)])))


def test_shown_query_is_the_query_that_runs() -> None:
    """The shortened text differs only in its source from the SQL that runs."""
    shown, run = queries.abridged(queries.ACTIONS), queries.with_paths(queries.ACTIONS, Path("/x"))
    assert shown.partition("from ")[0] == run.partition("from ")[0]
