"""The report of a failed live test reads what a database has, whichever tables that are."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.live.failure_report import rows


def test_rows_of_each_table_are_shown(tmp_path: Path) -> None:
    """The newest rows of a table come first."""
    with closing(sqlite3.connect(tmp_path / "airflow.db")) as connection, connection:
        connection.execute("create table asset_event (id, asset_id, timestamp, extra)")
        connection.executemany("insert into asset_event values (?, 4, '07:29', 'r')", [(1,), (2,)])
    shown = [text for text in rows(tmp_path / "airflow.db") if text.startswith("asset events:")]
    assert shown == ["asset events:\n    (2, 4, '07:29', 'r')\n    (1, 4, '07:29', 'r')"]


def test_missing_database_or_table_is_named(tmp_path: Path) -> None:
    """A report is complete if a table or the whole database is missing; nothing is created."""
    texts = list(rows(tmp_path / "none.db"))
    assert len(texts) > 5
    assert all("unable to open database file" in text for text in texts)
    assert not (tmp_path / "none.db").exists()
