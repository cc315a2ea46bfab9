"""A session with DuckDB: a file, MotherDuck, or a connection that somebody else opened.

Knows: the duckdb library, imported when a session opens, and how its files are locked. Must not know: tables.
Its one rule: a file that another process has open is waited for, not forever.

Two messages of DuckDB's are told apart by their text, because it has neither classes nor numbers for them.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from airflow_audit_provider.core.ports import Clock
from airflow_audit_provider.exceptions import ConfigurationError, WarehouseBusyError

# One process at a time may write a DuckDB file, so a backfill's tasks wait for each other here.
_PATIENCE_SECONDS = 300.0
_PAUSE_SECONDS = 0.2
# DuckDB's own limit is most of the machine's memory, and it keeps in it whatever it has written.
_MEMORY_LIMIT = "256MB"
# DuckDB has one class for all that goes wrong with a file, and no number; how its message begins is all there is. The
# path comes after it, so that no name of a folder or file looks like a lock.
_OPEN_OTHERWISE = "different configuration"
_LOCKED = "IO Error: Could not set lock on file"


class DuckDbSession:
    """Satisfies :class:`~airflow_audit_provider.adapters.warehouses.sql.SqlSession`."""

    def __init__(self, connection: Any, *, is_ours: bool = False) -> None:
        self._duckdb = _library()
        self._connection = connection
        self._is_ours = is_ours

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Begin, and commit or roll back."""
        self._connection.execute("BEGIN")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException as error:
            self._roll_back()
            if isinstance(error, self._duckdb.TransactionException):
                raise WarehouseBusyError(f"Another loader changed the same ({error}). Run it again.") from error
            raise

    def _roll_back(self) -> None:
        """Roll back, unless the commit that failed has done so."""
        try:
            self._connection.execute("ROLLBACK")
        except self._duckdb.TransactionException as error:
            if "no transaction is active" not in str(error):
                raise

    def ask(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run one statement."""
        found: list[tuple[Any, ...]] = self._connection.execute(statement, parameters).fetchall()
        return found

    def lock_table(self, name: str) -> None:
        """Do nothing: two transactions that make the same table conflict by themselves."""

    def index_window(self, table: str, name: str) -> None:
        """Do nothing: DuckDB keeps the least and the greatest value of every row group."""

    def add(self, table: str, rows: Any) -> None:
        """Insert from the Arrow table itself, nothing is copied row by row."""
        columns = ", ".join(f'"{name}"' for name in rows.column_names)
        reader = importlib.import_module("pyarrow").RecordBatchReader
        # The transaction keeps what was registered in it until its end; of a reader nothing is left by then.
        self._connection.register("arriving_rows", reader.from_batches(rows.schema, iter(rows.to_batches())))
        try:
            self._connection.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM arriving_rows")  # noqa: S608 - checked name
        finally:
            self._connection.unregister("arriving_rows")

    def close(self) -> None:
        """Close what this session opened."""
        if self._is_ours:
            self._connection.close()


def open_duckdb(path: str, clock: Clock, memory_limit: str | None = None) -> DuckDbSession:
    """Open a database file, making it if it is missing; wait up to five minutes for a process that has it open.

    ``memory_limit`` is as DuckDB spells it (``"1GB"``), 256MB by default; where this process has the file open, its
    limit stays. Raises ``WarehouseBusyError`` when another process does not let go, ``ConfigurationError`` without the
    library, for another limit, and for a path that cannot be opened.
    """
    duckdb, settings = _library(), {"memory_limit": memory_limit or _MEMORY_LIMIT}
    give_up_at = clock.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return DuckDbSession(duckdb.connect(path, config=settings), is_ours=True)
        except duckdb.Error as error:
            if settings and _OPEN_OTHERWISE in str(error):
                # This process has it open already, and whoever opened it has set the limit.
                settings = {}
                continue
            if not str(error).startswith(_LOCKED):
                raise ConfigurationError(
                    f"DuckDB cannot open {path!r} ({error}). Check folder, rights and memory_limit."
                ) from error
            if clock.monotonic() >= give_up_at:
                raise WarehouseBusyError(f"Another process has {path!r} open ({error}). Run it again later.") from error
        clock.sleep(_PAUSE_SECONDS * (1 + clock.jitter()))


def _library() -> Any:
    if find_spec("duckdb") is None or find_spec("pyarrow") is None:
        raise ConfigurationError(
            "Loading into DuckDB needs duckdb and pyarrow. Run: pip install 'airflow-audit-provider[duckdb]'."
        )
    import duckdb

    return duckdb
