"""DuckDB session: a database file, MotherDuck, or a connection that the caller opened.

DuckDB has neither error classes nor error codes for a locked file and for a file that this process has open with other
settings, so both are recognized by their message.

Invariant: a database file that another process has open is waited for, but not longer than five minutes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from importlib.util import find_spec
from typing import Any

from airflow_audit_provider.adapters.spill_file import spilled_copy
from airflow_audit_provider.adapters.warehouses.duckdb_errors import named_duckdb_error
from airflow_audit_provider.core.ports import Clock
from airflow_audit_provider.core.warehouse.port import KEY_COLUMNS, TablePart
from airflow_audit_provider.exceptions import ConfigurationError, WarehouseBusyError

# Only one process at a time can write a DuckDB file (DuckDB docs, "Concurrency"), so the tasks of a backfill wait here.
_LOCK_TIMEOUT_SECONDS = 300.0
_LOCK_POLL_SECONDS = 0.2
# DuckDB's own default is 80 % of the machine's memory (DuckDB docs, "Configuration"), more than a worker can spare.
_DEFAULT_MEMORY_LIMIT = "256MB"
# Each insert ends with a row group that is not full. Measured: inserts of 2,000 rows take an eighth more CPU time.
_INSERT_BYTES = 32 << 20
# A vector of DuckDB has 2,048 rows (DuckDB docs, "Vectors"); with records of this size it takes some tens of megabytes.
_MAX_RECORD_BYTES = 8 << 10
# DuckDB reads every file that a path with one of these characters matches, and has no escape for them.
_PATTERN_CHARACTERS = "*?["
# The path comes after the start of the lock message, so a folder or file of that name is not mistaken for a lock.
_LOCKED_MESSAGE_START = "IO Error: Could not set lock on file"
_OPEN_WITH_OTHER_SETTINGS = "different configuration"


class DuckDbSession:
    """Satisfies :class:`~airflow_audit_provider.adapters.warehouses.sql.SqlSession`.

    ``close`` closes the connection only if ``owns_connection``.
    """

    def __init__(self, connection: Any, *, owns_connection: bool = False) -> None:
        self._duckdb = _library()
        self._connection = connection
        self._owns_connection = owns_connection

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Begins a transaction; commits at the end of the block, rolls back on an error.

        Raises the error that :func:`named_duckdb_error` gives an error of DuckDB.
        """
        self._connection.execute("BEGIN")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException as error:
            named = named_duckdb_error(self._duckdb, error)
            # DuckDB cannot roll back after a failed commit, which has done so, nor in a database that has failed; the
            # first error counts.
            with suppress(self._duckdb.Error) if named else nullcontext():
                self._connection.execute("ROLLBACK")
            if named:
                raise named from error
            raise

    def execute(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Runs one statement and returns its rows."""
        rows: list[tuple[Any, ...]] = self._connection.execute(statement, parameters).fetchall()
        return rows

    folds_case = True

    def may_create_in(self, _schema: str) -> bool:
        """Returns True: DuckDB has no roles."""
        return True

    def may_update(self, _table: str) -> bool:
        """Returns True: DuckDB has no roles."""
        return True

    def lock_table(self, name: str) -> None:
        """Does nothing: of two transactions that create or alter a table, DuckDB fails one."""

    def index_window(self, table: str, name: str) -> None:
        """Does nothing: DuckDB keeps the minimum and maximum of every row group and skips the others."""

    insert_bytes = _INSERT_BYTES

    def add_file(self, table: str, key: Sequence[Any], part: TablePart) -> bool:
        """Inserts a part's file by DuckDB's own reader, from a temporary copy.

        Returns False where statements may not read files, where the copy cannot be written, and for large records:
        DuckDB's reader takes some thousand rows at a time, however large they are.
        """
        if part.record_bytes > _MAX_RECORD_BYTES or not self._reads_files():
            return False
        with spilled_copy(part.content, ".parquet") as path:
            if path is None or any(character in path for character in _PATTERN_CHARACTERS):
                return False
            columns = ", ".join(f'"{name}"' for name in part.column_names)
            keys = ", ".join(column.name for column in KEY_COLUMNS)
            self._connection.execute(
                f"INSERT INTO {table} ({keys}, {columns}) "  # noqa: S608 - name checked by table_name, columns our own
                f"SELECT {', '.join('?' * len(key))}, {columns} FROM read_parquet(?, hive_partitioning = false)",
                [*key, path],
            )
        return True

    def _reads_files(self) -> bool:
        """Returns whether statements may read files; the caller's connection may forbid it."""
        ((is_allowed,),) = self.execute("SELECT current_setting('enable_external_access')")
        return bool(is_allowed)

    def add(self, table: str, tables: Sequence[Any]) -> None:
        """Inserts Arrow tables in one statement, not row by row."""
        import pyarrow as pa

        schema = tables[0].schema
        columns = ", ".join(f'"{name}"' for name in schema.names)
        pieces = (piece for rows in tables for piece in rows.to_batches())
        arriving = pa.RecordBatchReader.from_batches(schema, pieces)
        # A transaction keeps what is registered in it until it ends. A reader is empty by then and holds no rows.
        self._connection.register("arriving_rows", arriving)
        try:
            self._connection.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM arriving_rows")  # noqa: S608 - checked name
        except self._duckdb.Error:
            # The transaction is aborted, so nothing more can be done in it; the first error counts.
            with suppress(self._duckdb.Error):
                self._connection.unregister("arriving_rows")
            raise
        self._connection.unregister("arriving_rows")

    def close(self) -> None:
        """Closes the connection, if the session owns it."""
        if self._owns_connection:
            self._connection.close()


def open_duckdb(path: str, clock: Clock, memory_limit: str | None = None) -> DuckDbSession:
    """Opens a database file and creates it if it is missing; waits up to five minutes for another process.

    ``memory_limit`` is written as in DuckDB (``"1GB"``), 256MB by default. If this process has the file open already,
    the limit of that connection stays. Raises ``WarehouseBusyError`` if another process keeps the file open, and
    ``ConfigurationError`` if the library is missing, the path cannot be opened or the limit is invalid.
    """
    duckdb, settings = _library(), {"memory_limit": memory_limit or _DEFAULT_MEMORY_LIMIT}
    give_up_at = clock.monotonic() + _LOCK_TIMEOUT_SECONDS
    while True:
        try:
            return DuckDbSession(duckdb.connect(path, config=settings), owns_connection=True)
        except duckdb.Error as error:
            if settings and _OPEN_WITH_OTHER_SETTINGS in str(error):
                # This process has the file open, e.g. in a notebook, and its first connection has set the limit.
                settings = {}
                continue
            if not str(error).startswith(_LOCKED_MESSAGE_START):
                raise ConfigurationError(
                    f"DuckDB cannot open {path!r} ({error}). Check that the folder exists, that the worker's user may "
                    "write folder and file, that the file is a DuckDB database, and that memory_limit has a unit, such "
                    "as 1GB."
                ) from error
            if clock.monotonic() >= give_up_at:
                raise WarehouseBusyError(
                    f"Another process still has the DuckDB file {path!r} open after {_LOCK_TIMEOUT_SECONDS:.0f} s "
                    f"({error}). Close it there, or run the task again later."
                ) from error
        clock.sleep(_LOCK_POLL_SECONDS * (1 + clock.jitter()))


def _library() -> Any:
    if find_spec("duckdb") is None or find_spec("pyarrow") is None:
        raise ConfigurationError(
            "Loading into DuckDB needs duckdb and pyarrow. Run: pip install 'airflow-audit-provider[duckdb]'."
        )
    import duckdb

    return duckdb
