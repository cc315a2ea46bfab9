"""Draws the landed windows and the results of queries as tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from harness.landed import LandedWindow


def windows_table(windows: Iterable[LandedWindow], verdicts: dict[tuple[str, str], str]) -> Table:
    """Returns a table with one row for each landed window; `verdicts` maps (format, day) to its status."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("window (UTC)")
    table.add_column("format")
    for name in ("records", "parts", "bytes"):
        table.add_column(name, justify="right")
    table.add_column("digest of the records")
    table.add_column("compared")
    for window in windows:
        verdict = verdicts.get((window.file_format, window.day), "not compared")
        table.add_row(
            window.day,
            window.file_format,
            f"{window.record_count:,}",
            str(window.part_count),
            f"{window.size_bytes:,}",
            window.digest[:16],
            Text(verdict, style="green" if verdict.startswith("equal") else "red"),
        )
    return table


def answer_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """Returns a table of a query's result, numbers aligned right."""
    kept = [tuple(row) for row in rows]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, name in enumerate(columns):
        numeric = all(isinstance(row[place], int | float) for row in kept)
        table.add_column(name, justify="right" if numeric else "left")
    for row in kept:
        table.add_row(*(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row))
    return table
