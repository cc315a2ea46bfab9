"""PostgreSQL session over a connection of an Airflow hook, with psycopg 2 or 3, whichever the hook uses.

Rows are sent by COPY, one command for each Arrow table, in which null and an empty text differ.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from airflow_audit_provider.exceptions import ConfigurationError, WarehouseBusyError

# SQLSTATEs of a conflict with another transaction (PostgreSQL docs, Appendix A): serialization_failure,
# deadlock_detected, lock_not_available, unique_violation.
_CONFLICT_STATES = frozenset({"40001", "40P01", "55P03", "23505"})
_LOCK_TIMEOUT = "300s"


class PostgresSession:
    """Satisfies :class:`~airflow_audit_provider.adapters.warehouses.sql.SqlSession`; closes the connection it is given.

    Raises ``ConfigurationError`` without pyarrow.
    """

    def __init__(self, connection: Any) -> None:
        if find_spec("pyarrow") is None:
            raise ConfigurationError(
                "Loading into PostgreSQL needs pyarrow. Run: pip install 'airflow-audit-provider[postgres]'."
            )
        self._connection = connection

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Begins a transaction with a lock timeout; commits at the end of the block, rolls back on an error."""
        try:
            self.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
            yield
            self._connection.commit()
        except BaseException as error:
            if not self._connection.closed:
                self._connection.rollback()
            if _sqlstate(error) in _CONFLICT_STATES:
                raise WarehouseBusyError(
                    "Another PostgreSQL transaction changed or locked the table or its load ledger at the same time "
                    f"(SQLSTATE {_sqlstate(error)}: {error}). Nothing was changed. Run the task again."
                ) from error
            raise

    def execute(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Runs one statement and returns its rows."""
        with self._connection.cursor() as cursor:
            cursor.execute(statement.replace("?", "%s"), parameters)
            return [tuple(row) for row in cursor.fetchall()] if cursor.description else []

    def lock_table(self, name: str) -> None:
        """Waits for the advisory lock of a table name.

        Without it two concurrent CREATE TABLE IF NOT EXISTS can fail with a unique violation in the system catalog.
        """
        self.execute("SELECT pg_advisory_xact_lock(hashtext(?))", name)

    def index_window(self, table: str, name: str) -> None:
        """Creates an index, so that replacing a window does not read the rows of the others."""
        self.execute(f'CREATE INDEX "{name}" ON {table} (window_start, dataset)')

    def add(self, table: str, rows: Any) -> None:
        """Sends an Arrow table by COPY."""
        columns = ", ".join(f'"{name}"' for name in rows.column_names)
        statement = f"COPY {table} ({columns}) FROM STDIN (FORMAT csv)"
        content = _csv(rows)
        with self._connection.cursor() as cursor:
            # psycopg 2 has copy_expert, psycopg 3 has copy.
            if hasattr(cursor, "copy_expert"):
                cursor.copy_expert(statement, content)
            else:
                with cursor.copy(statement) as copy:
                    copy.write(content.getbuffer())

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()


def _csv(rows: Any) -> io.BytesIO:
    """Returns rows as CSV with every value quoted except null: COPY reads an unquoted empty field as null."""
    from pyarrow import csv

    content = io.BytesIO()
    csv.write_csv(_without_nul(rows), content, csv.WriteOptions(include_header=False, quoting_style="all_valid"))
    content.seek(0)
    return content


def _without_nul(rows: Any) -> Any:
    """Returns rows with U+FFFD instead of U+0000: JSON allows it in a string, PostgreSQL in no text."""
    import pyarrow as pa
    from pyarrow import compute

    for place, field in enumerate(rows.schema):
        column = rows.column(place)
        if pa.types.is_string(field.type) and compute.any(compute.match_substring(column, "\0")).as_py():
            rows = rows.set_column(place, field, compute.replace_substring(column, "\0", "\ufffd"))
    return rows


def _sqlstate(error: BaseException) -> str | None:
    """Returns the SQLSTATE of an error of psycopg 3 (``sqlstate``) or psycopg 2 (``pgcode``)."""
    state: str | None = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    return state
