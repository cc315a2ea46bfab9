"""The landed windows and DuckDB's answers as tables.

Knows: columns, alignment, and what is worth a colour.
Must not know: how windows are read or queries run.
Its one rule: it draws what it is given; a table never computes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from demo.landed import LandedWindow


def windows_table(windows: Iterable[LandedWindow], verdicts: dict[tuple[str, str], str]) -> Table:
    """One row for each landed window; `verdicts` maps (format, day) to its status."""
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
    """A query's answer, numbers to the right."""
    kept = [tuple(row) for row in rows]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, name in enumerate(columns):
        numeric = all(isinstance(row[place], int | float) for row in kept)
        table.add_column(name, justify="right" if numeric else "left")
    for row in kept:
        table.add_row(*(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row))
    return table
