"""Load of a destination whose windows are all in the table already, after histories of different lengths.

The table's load ledger gets its entries in one insert, because so many loads of one window would take minutes. The
table itself stays empty: a load with nothing new does not look at its rows.

Invariant: a measured load opens the DuckDB file, finds nothing new and closes the file, as a task does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from airflow_audit_provider.adapters.clock import SystemClock
from airflow_audit_provider.adapters.warehouses.duckdb import open_duckdb
from airflow_audit_provider.adapters.warehouses.sql import SqlWarehouse, table_name
from airflow_audit_provider.core.archive.object_keys import MANIFEST_FOLDER, LogEntry, read_manifest_key
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.formats.warehouse_rows import table_columns
from airflow_audit_provider.pipelines.load import LoadSpec, load_committed

NAME = "load with nothing new"
HOUR = timedelta(hours=1)
# The windows of the last days have entries in the commit log, each an hour after the window's end.
LOGGED_DAYS = timedelta(days=5)
_TABLE = table_name("audit_logs")
_DATASET, _DESTINATION = "bench", "s3://bench"


class LoadedTable(NamedTuple):
    """A DuckDB file whose ledger has every window of a history."""

    file: Path
    now: datetime

    def load(self, store: Store) -> None:
        """Loads into the table; raises RuntimeError if that loads a window."""
        self._load(store, self.now + HOUR)

    def follow(self, store: Store) -> None:
        """Makes the first load, which looks at all manifests and writes its position in the commit log."""
        self._load(store, self.now)

    def _load(self, store: Store, now: datetime) -> None:
        spec = LoadSpec(_DATASET, _DESTINATION, now=now)
        with closing(_warehouse(self.file)[0]) as warehouse:
            loaded = load_committed(spec, store, warehouse, lambda _: None).loaded
        if loaded:
            raise RuntimeError(f"{len(loaded)} windows were loaded although the ledger has all of them.")


def with_commit_log(objects: Mapping[str, bytes], end: datetime) -> dict[str, bytes]:
    """Returns the objects of a history with the commit log of its last days."""
    windows = [named.window for named in map(read_manifest_key, objects) if named is not None]
    entries = [LogEntry(window.end + HOUR, window, 1, "one") for window in windows if window.end > end - LOGGED_DAYS]
    return {**objects, **{entry.key: b"{}" for entry in entries}}


@contextmanager
def loaded_table(objects: Mapping[str, bytes], now: datetime) -> Iterator[LoadedTable]:
    """Yields a table that has every window of a history."""
    with TemporaryDirectory() as folder:
        table = LoadedTable(Path(folder, "audit.duckdb"), now)
        warehouse, session = _warehouse(table.file)
        with closing(warehouse):
            warehouse.prepare(table_columns())
            with session.transaction():
                session.add(_TABLE.ledger.quoted, [_ledger(objects)])
        yield table


def _warehouse(file: Path) -> tuple[SqlWarehouse, Any]:
    session = open_duckdb(str(file), SystemClock())
    return SqlWarehouse(session, _TABLE), session


def _ledger(objects: Mapping[str, bytes]) -> Any:
    """Returns the ledger's rows: generation 1 of each window, loaded once."""
    import pyarrow as pa

    named = [(key, read_manifest_key(key)) for key in objects if key.startswith(MANIFEST_FOLDER)]
    windows = [(key, each.window) for key, each in named if each is not None]
    digests = [hashlib.sha256(objects[key]).hexdigest() for key, _ in windows]
    instants = partial(pa.array, type=pa.timestamp("us", tz="UTC"))
    count = len(windows)
    return pa.table(
        {
            "dataset": [_DATASET] * count,
            "window_start": instants([window.start for _, window in windows]),
            "window_end": instants([window.end for _, window in windows]),
            "load_number": [1] * count,
            "generation": [1] * count,
            "manifest_sha256": digests,
            "first_sha256": digests,
            "record_count": [2] * count,
            "destination": [_DESTINATION] * count,
            "loaded_at": instants([datetime.now(UTC)] * count),
        }
    )
