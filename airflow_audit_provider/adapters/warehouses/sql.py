"""A table of audit records and its load ledger in a SQL database, whichever dialect a session speaks.

Knows: the statements, which DuckDB and PostgreSQL both understand. Must not know: drivers, connections, manifests.
Its one rule: the claim is the first statement of a load's transaction and a unique key decides it; rows come after it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple, Protocol

from airflow_audit_provider.core.warehouse.port import KEY_COLUMNS, LedgerEntry, LoadClaim, SqlColumn, SqlType
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import ConfigurationError, WarehouseBusyError

_TYPES = {
    SqlType.TEXT: "TEXT",
    SqlType.BOOLEAN: "BOOLEAN",
    SqlType.INTEGER: "BIGINT",
    SqlType.INSTANT: "TIMESTAMP WITH TIME ZONE",
}
# What a database calls these types in its catalog, where that is another name.
_CATALOG_NAMES = {"VARCHAR": "TEXT", "CHARACTER VARYING": "TEXT"}
_NAME = re.compile(r"(?:(?P<schema>[A-Za-z_]\w{0,62})\.)?(?P<table>[A-Za-z_]\w{0,50})", re.ASCII)
_KEY = " AND ".join(f"{column.name} = ?" for column in KEY_COLUMNS)


class SqlSession(Protocol):
    """One connection: runs statements with ``?`` for each parameter, and adds Arrow tables."""

    def ask(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run one statement; return its rows, none for a statement that has none."""
        ...

    def transaction(self) -> AbstractContextManager[None]:
        """Commit at the block's end, roll back when it raises.

        Raises ``WarehouseBusyError`` when another transaction changed or locked the same.
        """
        ...

    def lock_table(self, name: str) -> None:
        """Keep others from making or changing a table of this name until the transaction ends, if the database can."""
        ...

    def index_window(self, table: str, name: str) -> None:
        """Make it cheap to find a window's rows in a new table, if they are not found cheaply anyway."""
        ...

    def add(self, table: str, rows: Any) -> None:
        """Add an Arrow table's rows to a table, column by column of the same name."""
        ...

    def close(self) -> None:
        """Close the connection, if this session opened it."""
        ...


class TableName(NamedTuple):
    """A table's name, with the schema it is in or None for the connection's own."""

    schema: str | None
    table: str

    @property
    def quoted(self) -> str:
        """The name as it stands in a statement."""
        return ".".join(f'"{name}"' for name in self if name is not None)

    @property
    def ledger(self) -> TableName:
        """The name of the load ledger, beside the table."""
        return TableName(self.schema, f"{self.table}_loads")


def table_name(text: str) -> TableName:
    """Return a table's name from ``table`` or ``schema.table``; raise ``ConfigurationError`` for any other text."""
    match = _NAME.fullmatch(text)
    if match is None:
        raise ConfigurationError(
            f"The table {text!r} is no name. Give table or schema.table, of letters, digits and underscores, the table "
            "with at most 51 of them."
        )
    return TableName(match["schema"], match["table"])


class SqlWarehouse:
    """Satisfies :class:`~airflow_audit_provider.core.warehouse.port.Warehouse` in one database, over one session."""

    def __init__(self, session: SqlSession, name: TableName) -> None:
        self._session = session
        self._name = name
        self._table = name.quoted
        self._ledger = name.ledger.quoted

    def prepare(self, columns: Iterable[SqlColumn]) -> None:
        """Make table, ledger and new columns, in one transaction."""
        wanted = (*KEY_COLUMNS, *columns)
        with self._session.transaction():
            self._session.lock_table(self._table)
            self._session.ask(_ledger_ddl(self._ledger))
            found = self._columns()
            if found:
                self._add_missing(wanted, found)
            else:
                self._create(wanted)

    def _create(self, columns: Iterable[SqlColumn]) -> None:
        if self._session.ask(f"SELECT 1 FROM {self._ledger} LIMIT 1"):  # noqa: S608 - names were checked by table_name
            raise ConfigurationError(
                f"The ledger {self._ledger} says that windows are loaded, and the table {self._table} is not there. "
                "Restore the table, or drop the ledger too and everything is loaded again."
            )
        self._session.ask(f"CREATE TABLE {self._table} ({', '.join(map(_column_ddl, columns))})")
        self._session.index_window(self._table, f"{self._name.table}_window")

    def _add_missing(self, columns: Iterable[SqlColumn], found: dict[str, str]) -> None:
        for column in columns:
            known = found.get(column.name)
            if known is None:
                # Rows of older schema versions have nothing there, so a column that comes later may always be null.
                self._session.ask(f"ALTER TABLE {self._table} ADD COLUMN {_column_ddl(column, may_be_null=True)}")
            elif known != _TYPES[column.type]:
                raise ConfigurationError(
                    f"The column {column.name} of {self._table} is {known}, and {_TYPES[column.type]} is to be loaded. "
                    "Give the name of a table that is not there yet."
                )

    def _columns(self) -> dict[str, str]:
        """Return the type of each column of the table, nothing when there is no table."""
        rows = self._session.ask(
            "SELECT column_name, upper(data_type) FROM information_schema.columns "
            "WHERE table_catalog = current_database() AND table_schema = coalesce(?, current_schema()) "
            "AND table_name = ?",
            self._name.schema,
            self._name.table,
        )
        return {name: _CATALOG_NAMES.get(known, known) for name, known in rows}

    def loaded(self, dataset: str) -> list[LedgerEntry]:
        """Return the newest entry of each window."""
        with self._session.transaction():
            rows = self._session.ask(
                "SELECT window_start, window_end, generation, manifest_sha256, record_count "  # noqa: S608 - checked name
                f"FROM {self._ledger} WHERE dataset = ? ORDER BY generation",
                dataset,
            )
        newest = {(start, end): LedgerEntry(TimeWindow(start, end), *rest) for start, end, *rest in rows}
        return list(newest.values())

    @contextmanager
    def replacing(self, claim: LoadClaim) -> Iterator[SqlRows]:
        """Take the claim, empty the window, give what takes its rows."""
        with self._session.transaction():
            self._take(claim)
            rows = SqlRows(self._session, self._table, claim)
            rows.clear()
            yield rows

    def _take(self, claim: LoadClaim) -> None:
        values = ", ".join(["(?, ?, ?, ?, ?, ?)"] * len(claim.entries))
        parameters = [
            value for window, *facts in claim.entries for value in (claim.dataset, window.start, window.end, *facts)
        ]
        taken = self._session.ask(
            f"INSERT INTO {self._ledger} "  # noqa: S608 - names were checked by table_name
            "(dataset, window_start, window_end, generation, manifest_sha256, record_count) "
            f"VALUES {values} ON CONFLICT DO NOTHING RETURNING generation",
            *parameters,
        )
        if len(taken) != len(claim.entries):
            raise WarehouseBusyError(
                f"Another loader entered {claim.window} first. Nothing of this one is in the table; run it again."
            )

    def close(self) -> None:
        """Close the session."""
        self._session.close()


class SqlRows:
    """One window's rows, inside a transaction."""

    def __init__(self, session: SqlSession, table: str, claim: LoadClaim) -> None:
        self._session = session
        self._table = table
        self._key = (claim.dataset, claim.window.start, claim.window.end)

    def clear(self) -> None:
        """Delete the rows that an older generation left."""
        self._session.ask(f"DELETE FROM {self._table} WHERE {_KEY}", *self._key)  # noqa: S608 - checked name

    def add(self, rows: Any) -> None:
        """Add an Arrow table."""
        self._session.add(self._table, rows)

    def count(self) -> int:
        """Count the window's rows."""
        ((count,),) = self._session.ask(f"SELECT count(*) FROM {self._table} WHERE {_KEY}", *self._key)  # noqa: S608 - checked name
        return int(count)


def _column_ddl(column: SqlColumn, *, may_be_null: bool = False) -> str:
    return f'"{column.name}" {_TYPES[column.type]}{" NOT NULL" if column.is_required and not may_be_null else ""}'


def _ledger_ddl(ledger: str) -> str:
    return (
        f"CREATE TABLE IF NOT EXISTS {ledger} (dataset TEXT NOT NULL, "
        "window_start TIMESTAMP WITH TIME ZONE NOT NULL, window_end TIMESTAMP WITH TIME ZONE NOT NULL, "
        "generation BIGINT NOT NULL, manifest_sha256 TEXT, record_count BIGINT NOT NULL, "
        "loaded_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT CURRENT_TIMESTAMP, "
        "PRIMARY KEY (dataset, window_start, window_end, generation))"
    )
