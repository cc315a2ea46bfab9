"""Reads a Delta table without deltalake: the log is replayed as Delta's protocol says, the files are read by DuckDB.

It reads what a load writes: plain commits, checkpoints of one file, data files without deletion vectors.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import duckdb
from pyarrow import parquet

Row = tuple[Any, ...]


def log_actions(table: Path) -> Iterator[dict[str, Any]]:
    """Yields the actions that make the newest version: of the last checkpoint, then of each commit after it."""
    log = table / "_delta_log"
    checkpoints = sorted(log.glob("*.checkpoint.parquet"))
    first = 0
    if checkpoints:
        first = int(checkpoints[-1].name[:20]) + 1
        for row in parquet.read_table(checkpoints[-1]).to_pylist():
            yield {name: value for name, value in row.items() if value is not None}
    for commit in sorted(log.glob("*.json")):
        if commit.stem.isdigit() and int(commit.stem) >= first:
            yield from map(json.loads, commit.read_text().splitlines())


def live_files(table: Path) -> list[Path]:
    """Returns the data files of the newest version."""
    found: dict[str, None] = {}
    for action in log_actions(table):
        if action.get("add"):
            found[unquote(action["add"]["path"])] = None
        elif action.get("remove"):
            found.pop(unquote(action["remove"]["path"]), None)
    return [table / path for path in found]


def column_names(table: Path) -> list[str]:
    """Returns the columns of the newest version."""
    schemas = [action["metaData"]["schemaString"] for action in log_actions(table) if action.get("metaData")]
    return [field["name"] for field in json.loads(schemas[-1])["fields"]]


def delta_rows(table: Path, columns: Sequence[str] = ()) -> list[Row]:
    """Returns rows of the newest version, all columns by default; a column that a file lacks is null."""
    wanted, rows = columns or column_names(table), []
    with duckdb.connect() as database:
        database.execute("set TimeZone = 'UTC'")
        for file in live_files(table):
            known = {row[0] for row in database.execute(f"select name from parquet_schema('{file}')").fetchall()}
            selected = ", ".join(f'"{name}"' if name in known else f'null as "{name}"' for name in wanted)
            rows += database.execute(f"select {selected} from read_parquet('{file}')").fetchall()
    return rows
