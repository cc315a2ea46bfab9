"""A session with PostgreSQL, over a connection that a hook opened: psycopg 2 or 3, whichever the hook uses.

Knows: what the two drivers have in common, COPY, SQLSTATEs. Must not know: tables, Airflow's hooks.
Its one rule: no row goes in by itself; a whole Arrow table is one COPY, and a null is told from an empty text.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from airflow_audit_provider.exceptions import ConfigurationError, WarehouseBusyError

# Serialization failure, deadlock, lock not available, unique violation: somebody else was first.
_BUSY_STATES = frozenset({"40001", "40P01", "55P03", "23505"})
_LONGEST_LOCK_WAIT = "300s"


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
        """Begin with a bound on waiting for locks, and commit or roll back."""
        try:
            self.ask(f"SET LOCAL lock_timeout = '{_LONGEST_LOCK_WAIT}'")
            yield
            self._connection.commit()
        except BaseException as error:
            if not self._connection.closed:
                self._connection.rollback()
            if _state_of(error) in _BUSY_STATES:
                raise WarehouseBusyError(f"Another loader changed the same ({error}). Run it again.") from error
            raise

    def ask(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run one statement."""
        with self._connection.cursor() as cursor:
            cursor.execute(statement.replace("?", "%s"), parameters)
            return [tuple(row) for row in cursor.fetchall()] if cursor.description else []

    def lock_table(self, name: str) -> None:
        """Wait for others who make or change the table: CREATE TABLE IF NOT EXISTS fails when two do it at once."""
        self.ask("SELECT pg_advisory_xact_lock(hashtext(?))", name)

    def index_window(self, table: str, name: str) -> None:
        """Index the window, so that replacing one does not read the others."""
        self.ask(f'CREATE INDEX "{name}" ON {table} (window_start, dataset)')

    def add(self, table: str, rows: Any) -> None:
        """Send an Arrow table by COPY."""
        columns = ", ".join(f'"{name}"' for name in rows.column_names)
        statement = f"COPY {table} ({columns}) FROM STDIN (FORMAT csv)"
        content = _csv(rows)
        with self._connection.cursor() as cursor:
            if hasattr(cursor, "copy_expert"):
                cursor.copy_expert(statement, content)
            else:
                with cursor.copy(statement) as copy:
                    copy.write(content.getbuffer())

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _csv(rows: Any) -> io.BytesIO:
    """Return rows as CSV in which every value but null is quoted."""
    csv = importlib.import_module("pyarrow.csv")
    content = io.BytesIO()
    csv.write_csv(_without_nul(rows), content, csv.WriteOptions(include_header=False, quoting_style="all_valid"))
    content.seek(0)
    return content


def _without_nul(rows: Any) -> Any:
    """Return rows with a replacement character for U+0000, which JSON may name and PostgreSQL keeps in no text."""
    pyarrow, compute = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.compute")
    for place, field in enumerate(rows.schema):
        column = rows.column(place)
        if pyarrow.types.is_string(field.type) and compute.any(compute.match_substring(column, "\0")).as_py():
            rows = rows.set_column(place, field, compute.replace_substring(column, "\0", "\ufffd"))
    return rows


def _state_of(error: BaseException) -> str | None:
    """Return the SQLSTATE of either driver's error."""
    state: str | None = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    return state
