"""Warehouse in a SQL database: a table of audit records, and the load ledger in a second table.

The statements run in DuckDB and in PostgreSQL; what differs between them is in their sessions.

Invariant: a load's transaction enters its claim in the ledger before it changes any row. The ledger's primary key
decides between concurrent loaders.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from airflow_audit_provider.adapters.warehouses.sql_positions import POSITION_COLUMNS, SqlPositions
from airflow_audit_provider.core.warehouse.port import (
    KEY_COLUMNS,
    ColumnType,
    LedgerEntry,
    LoadClaim,
    LoadPosition,
    SqlColumn,
    TablePart,
)
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import ConfigurationError, WarehouseBusyError

_TYPES = {
    ColumnType.TEXT: "TEXT",
    ColumnType.JSON: "TEXT",
    ColumnType.BOOLEAN: "BOOLEAN",
    ColumnType.INTEGER: "BIGINT",
    ColumnType.TIMESTAMP: "TIMESTAMP WITH TIME ZONE",
}
# Names of these types in information_schema, where they differ.
_CATALOG_NAMES = {"VARCHAR": "TEXT", "CHARACTER VARYING": "TEXT"}
_NAME = re.compile(r"(?:(?P<schema>[A-Za-z_]\w{0,62})\.)?(?P<table>[A-Za-z_]\w{0,50})", re.ASCII)
# Columns of the load ledger; a row is one load of one window.
_LEDGER_COLUMNS = {
    "dataset": "TEXT NOT NULL",
    "window_start": "TIMESTAMP WITH TIME ZONE NOT NULL",
    "window_end": "TIMESTAMP WITH TIME ZONE NOT NULL",
    "load_number": "BIGINT NOT NULL",
    "generation": "BIGINT NOT NULL",
    "manifest_sha256": "TEXT NOT NULL",
    "first_sha256": "TEXT",
    "record_count": "BIGINT NOT NULL",
    "destination": "TEXT NOT NULL",
    "loaded_at": "TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT CURRENT_TIMESTAMP",
}
# The window's start and end, then the fields of ``LedgerEntry`` in their order.
_ENTRY_COLUMNS = tuple(name for name in _LEDGER_COLUMNS if name not in {"dataset", "loaded_at"})
_KEY = " AND ".join(f"{column.name} = ?" for column in KEY_COLUMNS)


class SqlSession(Protocol):
    """One connection, which runs statements and adds Arrow tables."""

    def execute(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Runs one statement with ``?`` for each parameter; returns its rows, an empty list if it has none."""
        ...

    def transaction(self) -> AbstractContextManager[None]:
        """Begins a transaction; commits at the end of the block, rolls back on an error.

        Every error of the database's library becomes a named one, such as ``WarehouseBusyError`` if the transaction
        conflicts with another one.
        """
        ...

    @property
    def folds_case(self) -> bool:
        """Whether the database compares names without regard to case, even quoted ones."""
        ...

    def lock_table(self, name: str) -> None:
        """Locks a table name against creation and change by others until the transaction ends; may do nothing.

        It may do nothing only where concurrent changes fail one of the transactions anyway.
        """
        ...

    def index_window(self, table: str, name: str) -> None:
        """Creates an index for finding a window's rows in a new table, if the database needs one."""
        ...

    def add(self, table: str, tables: Sequence[Any]) -> None:
        """Inserts the rows of Arrow tables of one schema, matching columns by name."""
        ...

    def add_file(self, table: str, key: Sequence[Any], part: TablePart) -> bool:
        """Inserts the rows of a part's file, each with the same values of the key columns.

        Returns False, without a change, if the database does not read this file itself.
        """
        ...

    @property
    def insert_bytes(self) -> int:
        """Size up to which rows are gathered for one insert; 0 if a small insert costs little."""
        ...

    def may_create_in(self, schema: str) -> bool:
        """Returns whether the role of the connection may create tables in a schema."""
        ...

    def may_update(self, table: str) -> bool:
        """Returns whether the role of the connection may read, insert and update the rows of a table."""
        ...

    def close(self) -> None:
        """Closes the connection, if the session owns it."""
        ...


class TableName(NamedTuple):
    """Name of a table; ``schema`` is None for the default schema of the connection, ``catalog`` for its database."""

    schema: str | None
    table: str
    catalog: str | None = None

    @property
    def quoted(self) -> str:
        """Quoted name, as it is used in statements."""
        return ".".join(f'"{name}"' for name in (self.catalog, self.schema, self.table) if name is not None)

    @property
    def ledger(self) -> TableName:
        """Name of the load ledger, in the same schema."""
        return self._replace(table=f"{self.table}_loads")

    @property
    def positions(self) -> TableName:
        """Name of the table of positions in commit logs, in the same schema."""
        return self._replace(table=f"{self.table}_positions")


def table_name(text: str) -> TableName:
    """Returns the name in ``table`` or ``schema.table``; raises ``ConfigurationError`` for any other text."""
    match = _NAME.fullmatch(text)
    if match is None:
        raise ConfigurationError(
            f"{text!r} is not a valid table name. Give table or schema.table, with letters, digits and underscores "
            "only, and at most 51 characters in the name of the table."
        )
    return TableName(match["schema"], match["table"])


class SqlWarehouse:
    """Satisfies :class:`~airflow_audit_provider.core.warehouse.port.Warehouse` over one session."""

    def __init__(self, session: SqlSession, name: TableName) -> None:
        self._session = session
        self._name = name
        self._table = name.quoted
        self._ledger = name.ledger.quoted
        self._positions: SqlPositions | None = None

    def prepare(self, columns: Iterable[SqlColumn]) -> None:
        """Creates table and ledger and adds new columns, in one transaction."""
        wanted = (*KEY_COLUMNS, *columns)
        with self._session.transaction():
            in_schema = self._in_schema()
            self._session.lock_table(in_schema.quoted.lower())
            self._name, has_table = self._found(in_schema)
            ledger, has_ledger = self._found(self._name.ledger)
            self._table, self._ledger = self._name.quoted, ledger.quoted
            # A role without the right to create tables may load into existing ones.
            if not has_ledger:
                self._session.execute(_ledger_ddl(self._ledger))
            self._check_ledger(ledger)
            if has_table:
                self._add_missing(wanted, self._columns(self._name))
            else:
                self._create(wanted)
            self._positions = self._found_positions()

    def _found_positions(self) -> SqlPositions | None:
        """Returns the table of positions, and creates it; None for a role that may not use one."""
        name, is_found = self._found(self._name.positions)
        if is_found:
            is_usable = self._columns(name).keys() >= POSITION_COLUMNS.keys() and self._session.may_update(name.quoted)
            return SqlPositions(self._session, name.quoted) if is_usable else None
        if not self._session.may_create_in(str(name.schema)):
            return None
        columns = ", ".join(f"{column} {definition}" for column, definition in POSITION_COLUMNS.items())
        self._session.execute(
            f"CREATE TABLE IF NOT EXISTS {name.quoted} ({columns}, PRIMARY KEY (dataset, destination))"
        )
        return SqlPositions(self._session, name.quoted)

    def _in_schema(self) -> TableName:
        """Returns the name with its schema as the database spells it; raises ``ConfigurationError`` without one."""
        wanted = self._name.schema or self._schema_on_path()
        found = self._session.execute(
            "SELECT catalog_name, schema_name FROM information_schema.schemata WHERE catalog_name = current_database() "
            "AND lower(schema_name) = lower(coalesce(?, current_schema()))",
            wanted,
        )
        for catalog, schema in found:
            if wanted in {None, schema} or self._session.folds_case:
                # DuckDB takes a single qualifier for the database if the file has that name.
                return TableName(schema, self._name.table, catalog if self._session.folds_case else None)
        if wanted is None:
            raise ConfigurationError(
                "The connection has no default schema: no schema in its search_path exists. Give table as schema.table."
            )
        raise ConfigurationError(
            f"The schema {wanted} of the table {self._table} does not exist in the connection's database, or its role "
            f"has no right on it. Run CREATE SCHEMA {wanted}, grant USAGE and CREATE on it, or correct the "
            "argument table."
        )

    def _schema_on_path(self) -> str | None:
        """Returns the first schema of PostgreSQL's ``search_path`` with the load ledger, None without one.

        A statement that names a table without a schema finds it in any of these schemas
        (https://www.postgresql.org/docs/current/ddl-schemas.html#DDL-SCHEMAS-PATH); a second table in the first schema
        would get every window again. A schema that also has the table comes before one that has only the ledger. A
        table without a ledger may be another application's.
        """
        if self._session.folds_case:
            return None
        rows = self._session.execute(
            "SELECT table_schema, table_name FROM information_schema.tables WHERE table_catalog = current_database() "
            "AND table_name IN (?, ?) AND table_schema::text = ANY(current_schemas(false)::text[]) "
            "ORDER BY array_position(current_schemas(false)::text[], table_schema::text)",
            self._name.table,
            self._name.ledger.table,
        )
        tables = {schema for schema, name in rows if name == self._name.table}
        ledgers = [schema for schema, name in rows if name == self._name.ledger.table]
        return next(iter([*(schema for schema in ledgers if schema in tables), *ledgers]), None)

    def _found(self, wanted: TableName) -> tuple[TableName, bool]:
        """Returns the name of a table as the database spells it, and whether it exists.

        Raises ``ConfigurationError`` for a view, and for a table whose name differs in case where case matters.
        """
        rows = self._session.execute(
            "SELECT table_name, table_type FROM information_schema.tables WHERE table_catalog = current_database() "
            "AND table_schema = ? AND lower(table_name) = lower(?)",
            wanted.schema,
            wanted.table,
        )
        same = [row for row in rows if row[0] == wanted.table or self._session.folds_case]
        if rows and not same:
            raise ConfigurationError(
                f"The table {wanted.quoted} does not exist, but {rows[0][0]} does, and the database distinguishes "
                "case. Set the argument table to the existing spelling, or rename the existing table."
            )
        for name, kind in same:
            if kind != "BASE TABLE":
                raise ConfigurationError(
                    f"The object {wanted.quoted} is a {kind}, not a table, so nothing can be loaded into it. Give the "
                    "name of a new table."
                )
            return wanted._replace(table=name), True
        return wanted, False

    def _check_ledger(self, ledger: TableName) -> None:
        """Raises ``ConfigurationError`` if the ledger lacks a column or is hidden from the role."""
        columns = self._columns(ledger)
        if not columns:
            raise ConfigurationError(
                f"The load ledger {self._ledger} exists, but the role of the connection has no right on it. Grant the "
                "role SELECT, INSERT and DELETE on the ledger and on the table."
            )
        missing = sorted(_LEDGER_COLUMNS.keys() - columns)
        if missing:
            raise ConfigurationError(
                f"The load ledger {self._ledger} has no column {missing[0]}: another program, or "
                "airflow-audit-provider before 1.0.0rc1, created it. Drop it, so that the next load creates it and "
                "loads every window again, or give the name of a new table."
            )

    def _create(self, columns: Iterable[SqlColumn]) -> None:
        if self._session.execute(f"SELECT 1 FROM {self._ledger} LIMIT 1"):  # noqa: S608 - names checked by table_name
            raise ConfigurationError(
                f"The load ledger {self._ledger} lists loaded windows, but the table {self._table} does not exist. "
                "Restore the table, or drop the load ledger too, so that everything is loaded again."
            )
        self._session.execute(f"CREATE TABLE {self._table} ({', '.join(map(_column_ddl, columns))})")
        self._session.index_window(self._table, f"{self._name.table}_window")

    def _add_missing(self, columns: Iterable[SqlColumn], found: dict[str, str]) -> None:
        for column in columns:
            known = found.get(column.name)
            if known is None:
                # Rows of older schema versions have no value for it, so a column that is added later allows null.
                self._session.execute(f"ALTER TABLE {self._table} ADD COLUMN {_column_ddl(column, is_nullable=True)}")
            elif known != _TYPES[column.type]:
                raise ConfigurationError(
                    f"The column {column.name} of {self._table} has type {known} instead of {_TYPES[column.type]}. "
                    "Give the name of a new table."
                )

    def _columns(self, of: TableName) -> dict[str, str]:
        """Returns the type of each column of a table, by names in lower case where case does not matter."""
        rows = self._session.execute(
            "SELECT column_name, upper(data_type) FROM information_schema.columns "
            "WHERE table_catalog = current_database() AND table_schema = ? AND table_name = ?",
            of.schema,
            of.table,
        )
        # With quote_all_identifiers, PostgreSQL also quotes the types that the SQL standard does not name.
        unquoted = ((name, known.strip('"')) for name, known in rows)
        types = {name: _CATALOG_NAMES.get(known, known) for name, known in unquoted}
        return {name.lower(): known for name, known in types.items()} if self._session.folds_case else types

    def loaded(self, dataset: str, within: TimeWindow | None = None) -> list[LedgerEntry]:
        """Returns the newest ledger entry of every window of a dataset, or of those that overlap a range."""
        condition, bounds = "", tuple[datetime, ...]()
        if within is not None:
            condition, bounds = " AND window_start < ? AND window_end > ?", (within.end, within.start)
        with self._session.transaction():
            rows = self._session.execute(
                f"SELECT {', '.join(_ENTRY_COLUMNS)} "  # noqa: S608 - checked name
                f"FROM {self._ledger} WHERE dataset = ?{condition} ORDER BY load_number",
                dataset,
                *bounds,
            )
        return newest_entries(rows)

    def window_count(self, dataset: str) -> int:
        """Returns the number of windows of a dataset in the ledger."""
        with self._session.transaction():
            ((count,),) = self._session.execute(
                "SELECT count(*) FROM (SELECT DISTINCT window_start, window_end "  # noqa: S608 - name checked by table_name
                f"FROM {self._ledger} WHERE dataset = ?) AS loaded_windows",
                dataset,
            )
        return int(count)

    def position(self, dataset: str, destination: str) -> LoadPosition | None:
        """Returns the position that was remembered, None if there is none or the role may not use it."""
        if self._positions is None:
            return None
        with self._session.transaction():
            return self._positions.read(dataset, destination)

    def remember(self, dataset: str, destination: str, position: LoadPosition) -> None:
        """Writes a position, if the role may."""
        if self._positions is not None:
            with self._session.transaction():
                self._positions.write(dataset, destination, position)

    @contextmanager
    def replacing(self, claim: LoadClaim) -> Iterator[SqlRows]:
        """Enters the claim and deletes the window's rows; yields the sink for the new rows."""
        with self._session.transaction():
            self._enter(claim)
            rows = SqlRows(self._session, self._table, claim)
            rows.clear()
            yield rows

    def _enter(self, claim: LoadClaim) -> None:
        """Enters a claim in the ledger; raises ``WarehouseBusyError`` if its load number exists."""
        window, *facts, _ = claim.entry
        columns = ("dataset", *_ENTRY_COLUMNS)
        entered = self._session.execute(
            f"INSERT INTO {self._ledger} ({', '.join(columns)}) "  # noqa: S608 - names checked by table_name
            f"VALUES ({', '.join('?' * len(columns))}) ON CONFLICT DO NOTHING RETURNING load_number",
            *(claim.dataset, window.start, window.end, *facts),
        )
        if not entered:
            raise WarehouseBusyError(
                f"Another loader loaded {claim.window} first. This load changed nothing. Run the task again."
            )

    def close(self) -> None:
        """Closes the session."""
        self._session.close()


class SqlRows:
    """Rows of one window, inside a transaction."""

    def __init__(self, session: SqlSession, table: str, claim: LoadClaim) -> None:
        self._session = session
        self._table = table
        self._key = (claim.dataset, claim.window.start, claim.window.end)
        self._gathered: list[Any] = []
        self._gathered_bytes = 0

    def clear(self) -> None:
        """Deletes the rows of the generation that is loaded so far."""
        self._session.execute(f"DELETE FROM {self._table} WHERE {_KEY}", *self._key)  # noqa: S608 - checked name

    def add(self, rows: Any) -> None:
        """Inserts the rows of an Arrow table, or gathers them for one insert until the next count."""
        self._gathered.append(rows)
        self._gathered_bytes += rows.nbytes
        if self._gathered_bytes >= self._session.insert_bytes:
            self._insert()

    def add_part(self, part: TablePart) -> None:
        """Inserts the rows of a part from its file, or from its Arrow tables if the database does not read it."""
        if not self._session.add_file(self._table, self._key, part):
            for rows in part.tables():
                self.add(rows)

    def _insert(self) -> None:
        """Inserts the gathered rows."""
        gathered, self._gathered, self._gathered_bytes = self._gathered, [], 0
        if gathered:
            self._session.add(self._table, gathered)

    def count(self) -> int:
        """Returns the number of rows of the window."""
        self._insert()
        ((count,),) = self._session.execute(f"SELECT count(*) FROM {self._table} WHERE {_KEY}", *self._key)  # noqa: S608 - checked name
        return int(count)


def _column_ddl(column: SqlColumn, *, is_nullable: bool = False) -> str:
    return f'"{column.name}" {_TYPES[column.type]}{" NOT NULL" if column.is_required and not is_nullable else ""}'


def _ledger_ddl(ledger: str) -> str:
    columns = (f"{name} {definition}" for name, definition in _LEDGER_COLUMNS.items())
    return (
        f"CREATE TABLE IF NOT EXISTS {ledger} ({', '.join(columns)}, "
        "PRIMARY KEY (dataset, window_start, window_end, load_number))"
    )


def newest_entries(rows: Iterable[tuple[Any, ...]]) -> list[LedgerEntry]:
    """Returns the newest entry of each window, from rows of ``_ENTRY_COLUMNS`` in the order of their load numbers."""
    newest: dict[TimeWindow, LedgerEntry] = {}
    for start, end, *facts in rows:
        window = TimeWindow(start, end)
        entry, before = LedgerEntry(window, *facts), newest.get(window)
        earlier = {*before.superseded, before.first_sha256} if before else set()
        superseded = frozenset(sha256 for sha256 in earlier if sha256 not in {None, entry.first_sha256})
        newest[window] = entry._replace(superseded=superseded)
    return list(newest.values())
