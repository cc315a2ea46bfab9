"""Tables of a load in ClickHouse as SQL: rows, load ledger, positions, and the view that people query.

The view has the rows of the attempts that the ledger names as loaded, so one row in the ledger makes all rows of a
window visible and hides those that they replace.

Invariant: of several entries with the highest load number of a window, the view and the ledger take the same one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from airflow_audit_provider.adapters.warehouses.sql import TableName
from airflow_audit_provider.core.warehouse.port import KEY_COLUMNS, ColumnType, SqlColumn
from airflow_audit_provider.exceptions import ConfigurationError

_TYPES = {
    ColumnType.TEXT: "String",
    ColumnType.JSON: "String",
    ColumnType.BOOLEAN: "Bool",
    ColumnType.INTEGER: "Int64",
    ColumnType.TIMESTAMP: "DateTime64(6, 'UTC')",
}
# Which attempt a row belongs to; the view does not show these columns.
ATTEMPT_COLUMNS = {"load_id": "LowCardinality(String)", "load_number": "Int64"}
# Columns of the load ledger; a row is one load of one window.
LEDGER_COLUMNS = {
    "dataset": "String",
    "window_start": "DateTime64(6, 'UTC')",
    "window_end": "DateTime64(6, 'UTC')",
    "load_number": "Int64",
    "load_id": "String",
    "generation": "Int64",
    "manifest_sha256": "String",
    "first_sha256": "Nullable(String)",
    "record_count": "Int64",
    "destination": "String",
    "loaded_at": "DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC')",
}
_POSITION_COLUMNS = {
    "dataset": "String",
    "destination": "String",
    "seen_at": "DateTime64(6, 'UTC')",
    "listed_at": "DateTime64(6, 'UTC')",
    "window_count": "Int64",
    "settled": "String",
    "written_at": "DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC')",
}
# How many inserts a table of one server remembers the tokens of; for replicated tables it is a setting of the server.
_WINDOW_SETTING = "non_replicated_deduplication_window"
_REPLICATED_SETTING = "replicated_deduplication_window"
_REMEMBERED = 10_000
# Without them, a server that loses its power can lose rows that it has acknowledged, and keep the entry.
_DURABLE = "fsync_after_insert = 1, fsync_part_directory = 1"
# Other engines of the family, such as ReplacingMergeTree, delete rows when they merge parts.
_ENGINE = re.compile(r"(Replicated|Shared)?MergeTree")
_POSITIONS_ENGINE = re.compile(r"(Replicated|Shared)?(Replacing)?MergeTree")
_WRAPPED = re.compile(r"(?:LowCardinality|Nullable)\((.*)\)")
WINDOW = " AND ".join(
    ["dataset = {dataset:String}"]
    + [f"{name} = fromUnixTimestamp64Micro({{{name}:Int64}}, 'UTC')" for name in ("window_start", "window_end")]
)
# The rows of a window are in its range, which is the order of the table.
WINDOW_ROWS = (
    f"{WINDOW} AND event_time >= fromUnixTimestamp64Micro({{window_start:Int64}}, 'UTC') "
    "AND event_time < fromUnixTimestamp64Micro({window_end:Int64}, 'UTC')"
)


class ClickHouseNames:
    """Quoted names of the view and of the tables behind it."""

    def __init__(self, name: TableName) -> None:
        self.name = name
        self.view = name.quoted
        self.rows = name._replace(table=f"{name.table}_rows").quoted
        self.ledger = name.ledger.quoted
        self.positions = name.positions.quoted

    def tables(self) -> tuple[str, str, str]:
        """Returns the names of rows, ledger and positions without their database."""
        table = self.name.table
        return f"{table}_rows", f"{table}_loads", f"{table}_positions"


def create_rows(names: ClickHouseNames, columns: Iterable[SqlColumn]) -> str:
    """Returns the statement that creates the table of rows: months as partitions, sorted by time."""
    definitions = {column.name: _definition(column) for column in columns} | ATTEMPT_COLUMNS
    return (
        f"CREATE TABLE IF NOT EXISTS {names.rows} ({_listed(definitions)}) ENGINE = MergeTree "
        f"PARTITION BY toYYYYMM(event_time) ORDER BY (event_time, id) SETTINGS {_WINDOW_SETTING} = 100, {_DURABLE}"
    )


def create_ledger(names: ClickHouseNames) -> str:
    """Returns the statement that creates the load ledger."""
    return (
        f"CREATE TABLE IF NOT EXISTS {names.ledger} ({_listed(LEDGER_COLUMNS)}) ENGINE = MergeTree "
        "ORDER BY (dataset, window_start, window_end, load_number) "
        f"SETTINGS {_WINDOW_SETTING} = {_REMEMBERED}, {_DURABLE}"
    )


def create_positions(names: ClickHouseNames) -> str:
    """Returns the statement that creates the table of positions in commit logs."""
    return (
        f"CREATE TABLE IF NOT EXISTS {names.positions} ({_listed(_POSITION_COLUMNS)}) "
        "ENGINE = ReplacingMergeTree(written_at) ORDER BY (dataset, destination)"
    )


def create_view(names: ClickHouseNames, columns: Sequence[str]) -> str:
    """Returns the statement that creates the view of the loaded rows, or replaces it."""
    selected = ", ".join(f'"{column}"' for column in columns)
    return (
        f"CREATE OR REPLACE VIEW {names.view} AS SELECT {selected} FROM {names.rows} "  # noqa: S608 - names checked by table_name
        f"WHERE load_id IN (SELECT load_id FROM {names.ledger} "
        "ORDER BY load_number DESC, loaded_at, load_id LIMIT 1 BY dataset, window_start, window_end)"
    )


def add_column(names: ClickHouseNames, column: SqlColumn) -> str:
    """Returns the statement that adds a column, which is null in the rows of older schema versions."""
    return f'ALTER TABLE {names.rows} ADD COLUMN IF NOT EXISTS "{column.name}" Nullable({_TYPES[column.type]})'


def _definition(column: SqlColumn) -> str:
    kind = _TYPES[column.type]
    if column == KEY_COLUMNS[0]:
        return f"LowCardinality({kind})"
    return kind if column.is_required else f"Nullable({kind})"


def _listed(definitions: Mapping[str, str]) -> str:
    return ", ".join(f'"{name}" {definition}' for name, definition in definitions.items())


def missing_columns(rows: str, columns: Iterable[SqlColumn], known_types: Mapping[str, str]) -> list[SqlColumn]:
    """Returns the columns that a table of rows lacks; raises ``ConfigurationError`` for one that does not fit."""
    lost = sorted(ATTEMPT_COLUMNS.keys() - known_types)
    if lost:
        raise ConfigurationError(
            f"The table {rows} has no column {lost[0]}, so no load created it. Give the name of a new table."
        )
    missing = []
    for column in columns:
        known = known_types.get(column.name)
        if known is None:
            missing.append(column)
            continue
        if _unwrapped(known) != _TYPES[column.type]:
            raise ConfigurationError(
                f"The column {column.name} of {rows} has type {known} instead of {_definition(column)}. Give the name "
                "of a new table."
            )
        if not column.is_required and "Nullable(" not in known:
            raise ConfigurationError(
                f"The column {column.name} of {rows} has type {known}, but not every record has a value for it. Change "
                f"the type to Nullable({known}), or give the name of a new table."
            )
    return missing


def _unwrapped(kind: str) -> str:
    match = _WRAPPED.fullmatch(kind)
    return _unwrapped(match[1]) if match else kind


def check_engines(names: ClickHouseNames, engines: Mapping[str, tuple[str, str]]) -> None:
    """Raises ``ConfigurationError`` for an object that has one of the names and is not what a load creates.

    ``engines`` has the engine of each object, and the engine with its settings.
    """
    view = engines.get(names.name.table)
    if view is not None and view[0] != "View":
        raise ConfigurationError(
            f"The object {names.view} is a table with the engine {view[0]}, not the view that a load creates, so "
            "nothing can be loaded into it. Give the name of a new table."
        )
    rows, ledger, positions = names.tables()
    for table in names.tables():
        engine = engines.get(table, ("MergeTree", ""))[0]
        if not (_POSITIONS_ENGINE if table == positions else _ENGINE).fullmatch(engine):
            raise ConfigurationError(
                f"The object {table} has the engine {engine} instead of MergeTree. Drop it, or give the name of a new "
                "table."
            )
    _check_tokens(names, *engines.get(ledger, ("", "")))
    if ledger in engines and rows not in engines:
        raise ConfigurationError(
            f"The load ledger {names.ledger} exists, but the table {names.rows} does not. Restore the table, or drop "
            "the load ledger too, so that everything is loaded again."
        )


def _check_tokens(names: ClickHouseNames, engine: str, settings: str) -> None:
    """Raises ``ConfigurationError`` for a ledger that remembers no tokens; a replicated one does by default."""
    setting = _WINDOW_SETTING if engine == "MergeTree" else _REPLICATED_SETTING
    found = re.search(rf"\b{setting} = (\d+)", settings)
    if int(found[1]) == 0 if found else engine == "MergeTree":
        raise ConfigurationError(
            f"The load ledger {names.ledger} does not have the setting {setting}, so two loaders could enter "
            f"the same load. Run: ALTER TABLE {names.ledger} MODIFY SETTING {setting} = {_REMEMBERED}."
        )


def check_ledger(names: ClickHouseNames, columns: Iterable[str]) -> None:
    """Raises ``ConfigurationError`` if the ledger lacks a column."""
    missing = sorted(LEDGER_COLUMNS.keys() - set(columns))
    if missing:
        raise ConfigurationError(
            f"The load ledger {names.ledger} has no column {missing[0]}: another program wrote it. Drop it, so that "
            "the next load creates it and loads every window again, or give the name of a new table."
        )
