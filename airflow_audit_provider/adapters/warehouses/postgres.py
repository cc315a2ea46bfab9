"""PostgreSQL session over a connection of an Airflow hook, with psycopg 2 or 3, whichever the hook uses.

Rows are sent by COPY, one command for each Arrow table, in which null and an empty text differ.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from importlib.util import find_spec
from typing import Any

from airflow_audit_provider.adapters.warehouses.postgres_errors import named_postgres_error
from airflow_audit_provider.core.warehouse.port import TablePart
from airflow_audit_provider.exceptions import ConfigurationError

# Settings of each transaction. Drivers read times only with an ISO date style, and text only in the encoding that they
# know of; a role, a database or the environment may have set others.
_SETTINGS = {
    "lock_timeout": "300s",
    "client_encoding": "UTF8",
    "DateStyle": "ISO, YMD",
    "TimeZone": "UTC",
}


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
        # With autocommit, which an extra of the connection can set, each statement would be a transaction.
        connection.autocommit = False
        if hasattr(connection, "set_client_encoding"):
            # psycopg 2 does not notice a change by a statement.
            connection.set_client_encoding("UTF8")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Begins a transaction with known settings; commits at the end of the block, rolls back on an error.

        Raises the error that :func:`named_postgres_error` gives a driver's error.
        """
        try:
            for setting in _SETTINGS.items():
                self.execute("SELECT set_config(?, ?, true)", *setting)
            yield
            self._connection.commit()
        except BaseException as error:
            named = named_postgres_error(error)
            if not self._connection.closed:
                # A lost connection fails here too, and the server rolls back; the first error counts.
                with suppress(type(error)) if named else nullcontext():
                    self._connection.rollback()
            if named:
                raise named from error
            raise

    def execute(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Runs one statement and returns its rows."""
        with self._connection.cursor() as cursor:
            cursor.execute(statement.replace("?", "%s"), parameters)
            # The connection's extra can choose cursors whose rows are dicts.
            found = cursor.fetchall() if cursor.description else []
            return [tuple(row.values() if isinstance(row, dict) else row) for row in found]

    folds_case = False

    def lock_table(self, name: str) -> None:
        """Waits for the advisory lock of a table name.

        Without it two concurrent CREATE TABLE IF NOT EXISTS can fail with a unique violation in the system catalog.
        """
        self.execute("SELECT pg_advisory_xact_lock(hashtext(?))", name)

    def may_create_in(self, schema: str) -> bool:
        """Returns whether the role has the right CREATE on a schema."""
        ((may_create,),) = self.execute("SELECT has_schema_privilege(?::text, 'CREATE')", schema)
        return bool(may_create)

    def may_update(self, table: str) -> bool:
        """Returns whether the role has the rights SELECT, INSERT and UPDATE on a table."""
        rights = " AND ".join(f"has_table_privilege(?::text, '{right}')" for right in ("SELECT", "INSERT", "UPDATE"))
        ((may_update,),) = self.execute(f"SELECT {rights}", table, table, table)
        return bool(may_update)

    def index_window(self, table: str, name: str) -> None:
        """Creates an index, so that replacing a window does not read the rows of the others."""
        self.execute(f'CREATE INDEX "{name}" ON {table} (window_start, dataset)')

    # A COPY of few rows costs hardly more for each than a large one.
    insert_bytes = 0

    def add_file(self, _table: str, _key: Sequence[Any], _part: TablePart) -> bool:
        """Returns False: PostgreSQL reads no Parquet."""
        return False

    def add(self, table: str, tables: Sequence[Any]) -> None:
        """Sends Arrow tables by COPY, one command for each."""
        for rows in tables:
            columns = ", ".join(f'"{name}"' for name in rows.column_names)
            statement = f"COPY {table} ({columns}) FROM STDIN (FORMAT csv, ENCODING 'UTF8')"
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
    """Returns rows as CSV with every value quoted except null: COPY reads an unquoted empty field as null.

    It has U+FFFD instead of U+0000: JSON allows it in a string, PostgreSQL in no text. In UTF-8, a byte 0 is always
    this character.
    """
    from pyarrow import csv

    content = io.BytesIO()
    csv.write_csv(rows, content, csv.WriteOptions(include_header=False, quoting_style="all_valid"))
    if b"\0" in content.getvalue():
        content = io.BytesIO(content.getvalue().replace(b"\0", "\ufffd".encode()))
    content.seek(0)
    return content
