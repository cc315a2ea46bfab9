"""Columns, conditions and identities of a Delta table that loads are written to.

Invariant: a table with a feature that a writer has to know is refused, unless its data files stay plain Parquet files
with the columns' own names.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from airflow_audit_provider.core.warehouse.port import ColumnType, LoadClaim, SqlColumn
from airflow_audit_provider.exceptions import ConfigurationError

# Property of a table: the name of the ledger in force. Another value begins a ledger without entries.
LEDGER_PROPERTY = "audit.ledger"
FIRST_LEDGER = "1"
_TYPES = {
    ColumnType.TEXT: "string",
    ColumnType.JSON: "string",
    ColumnType.BOOLEAN: "boolean",
    ColumnType.INTEGER: "long",
    ColumnType.TIMESTAMP: "timestamp",
}
# Delta's protocol, "Writer version requirements": versions 1 and 2 know append-only tables and column invariants,
# version 7 lists its features by name, as reader version 3 does.
_PLAIN_READER, _PLAIN_WRITER, _LISTED_READER, _LISTED_WRITER = 1, 2, 3, 7
_KNOWN_FEATURES = frozenset({"appendOnly", "invariants", "v2Checkpoint"})
# Metadata of a column by which an engine computes or checks its values.
_COMPUTED_BY = ("delta.invariants", "delta.generationExpression", "delta.identity.start")


def delta_field(column: SqlColumn) -> Any:
    """Returns a column as deltalake's field; a required column is not nullable."""
    from deltalake.schema import Field, PrimitiveType

    return Field(column.name, PrimitiveType(_TYPES[column.type]), nullable=not column.is_required)


def delta_schema(columns: Sequence[SqlColumn]) -> Any:
    """Returns the schema of a new table."""
    from deltalake import Schema

    return Schema([delta_field(column) for column in columns])


def arrow_schema(table: Any) -> Any:
    """Returns the schema of a table as pyarrow has it."""
    import pyarrow as pa

    return pa.schema(table.schema().to_arrow())


def missing_columns(table: Any, uri: str, columns: Sequence[SqlColumn]) -> list[SqlColumn]:
    """Returns the columns that a table lacks; raises ``ConfigurationError`` for another type or another case."""
    types = {field.name: field.type for field in table.schema().fields}
    lower = {name.lower() for name in types}
    missing = []
    for column in columns:
        known = types.get(column.name)
        if known is None and column.name in lower:
            raise ConfigurationError(
                f"The Delta table {uri} has the column {column.name} in another case. Delta does not distinguish case. "
                "Rename the column, or give the location of a new table."
            )
        if known is None:
            missing.append(column)
        elif known != delta_field(column).type:
            raise ConfigurationError(
                f"The column {column.name} of the Delta table {uri} has the type {_shown(known)} instead of "
                f"{_TYPES[column.type]}. Give the location of a new table."
            )
    return missing


def _shown(kind: Any) -> str:
    return str(getattr(kind, "type", kind))


def check_table(table: Any, uri: str, columns: Iterable[SqlColumn]) -> None:
    """Raises ``ConfigurationError`` for a table that a load cannot write to."""
    _check_protocol(table.protocol(), uri)
    metadata = table.metadata()
    if metadata.partition_columns:
        raise ConfigurationError(
            f"The Delta table {uri} is partitioned by {', '.join(metadata.partition_columns)}. Loads write only to "
            "tables without partitions; queries find a day by the statistics of event_time. Give the location of a new "
            "table."
        )
    _check_properties(metadata.configuration, uri)
    always = {column.name for column in columns if column.is_required}
    for field in table.schema().fields:
        _check_field(field, uri, always)


def _check_protocol(protocol: Any, uri: str) -> None:
    reader, writer = protocol.min_reader_version, protocol.min_writer_version
    features = {*(protocol.reader_features or ()), *(protocol.writer_features or ())}
    foreign = sorted(features - _KNOWN_FEATURES)
    is_known = reader in {_PLAIN_READER, _LISTED_READER} and (writer <= _PLAIN_WRITER or writer == _LISTED_WRITER)
    if not is_known or foreign:
        listed = f" with the features {', '.join(foreign)}" if foreign else ""
        raise ConfigurationError(
            f"The Delta table {uri} has reader version {reader} and writer version {writer}{listed}. Loads write "
            "only to tables of reader version 1 and writer version 2, and to tables whose features are among "
            f"{', '.join(sorted(_KNOWN_FEATURES))}. Drop the other features with the engine that added them, or give "
            "the location of a new table."
        )


def _check_properties(properties: dict[str, str], uri: str) -> None:
    if properties.get("delta.appendOnly", "false").lower() == "true":
        raise ConfigurationError(
            f"The Delta table {uri} has delta.appendOnly=true, so a newer generation cannot replace its window's rows. "
            "Remove the property, or give the location of a new table."
        )
    if "delta.setTransactionRetentionDuration" in properties:
        raise ConfigurationError(
            f"The Delta table {uri} has delta.setTransactionRetentionDuration, which removes the load ledger after "
            "that time. Remove the property."
        )


def _check_field(field: Any, uri: str, always: set[str]) -> None:
    if not field.nullable and field.name not in always:
        raise ConfigurationError(
            f"The column {field.name} of the Delta table {uri} is NOT NULL, but not every record has a value for it. "
            "Make the column nullable, or give the location of a new table."
        )
    if any(name in field.metadata for name in _COMPUTED_BY):
        raise ConfigurationError(
            f"The column {field.name} of the Delta table {uri} is checked or computed by an engine, which a load does "
            "not do. Remove the condition, or give the location of a new table."
        )


def commit_facts(claim: LoadClaim) -> dict[str, str]:
    """Returns what the log says about the commit of a load, under names of this provider."""
    entry = claim.entry
    return {
        "audit.dataset": claim.dataset,
        "audit.window-start": claim.window.start.isoformat(),
        "audit.window-end": claim.window.end.isoformat(),
        "audit.generation": str(entry.generation),
        "audit.manifest-sha256": entry.manifest_sha256,
        "audit.record-count": str(entry.record_count),
    }
