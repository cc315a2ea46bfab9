"""Records as rows of a warehouse's table: the normalized schema, as Arrow tables with the window they came with.

Knows: pyarrow, imported when rows are made. Must not know: databases, ledgers.
Its one rule: the table has the columns of the normalized schema, whatever schema or format the parts are in.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from functools import cache
from typing import Any

from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord, lines_of
from airflow_audit_provider.core.warehouse.port import KEY_COLUMNS, LoadClaim, SqlColumn, SqlType
from airflow_audit_provider.formats.normalized import columns as normalized
from airflow_audit_provider.formats.parquet import typed_column
from airflow_audit_provider.formats.tables import NormalizedRows

_TYPES = {
    normalized.ColumnType.TEXT: SqlType.TEXT,
    normalized.ColumnType.JSON: SqlType.TEXT,
    normalized.ColumnType.BOOLEAN: SqlType.BOOLEAN,
    normalized.ColumnType.INTEGER: SqlType.INTEGER,
    normalized.ColumnType.TIMESTAMP: SqlType.INSTANT,
}


def table_columns() -> tuple[SqlColumn, ...]:
    """Return the columns of a loaded table after its key: the normalized schema's, in order."""
    return tuple(
        SqlColumn(column.name, _TYPES[column.type], is_required=not column.nullable)
        for column in normalized.columns_of()
    )


def arrow_rows(version: ApiVersion, records: Sequence[AuditRecord], claim: LoadClaim) -> Any:
    """Return records as an Arrow table with the key's columns in front."""
    pyarrow, schema, count = importlib.import_module("pyarrow"), _arrow_schema(), len(records)
    key = (claim.dataset, claim.window.start, claim.window.end)
    repeated = [pyarrow.repeat(pyarrow.scalar(value, schema.types[place]), count) for place, value in enumerate(key)]
    values = NormalizedRows(version, normalized.MINOR).table(records, lines_of(records))
    typed = [typed_column(pyarrow, values[field.name], field.type) for field in list(schema)[len(key) :]]
    return pyarrow.Table.from_arrays([*repeated, *typed], schema=schema)


@cache
def _arrow_schema() -> Any:
    pyarrow = importlib.import_module("pyarrow")
    types = {
        SqlType.TEXT: pyarrow.string(),
        SqlType.BOOLEAN: pyarrow.bool_(),
        SqlType.INTEGER: pyarrow.int64(),
        SqlType.INSTANT: pyarrow.timestamp("us", tz="UTC"),
    }
    columns = (*KEY_COLUMNS, *table_columns())
    return pyarrow.schema([pyarrow.field(c.name, types[c.type], nullable=not c.is_required) for c in columns])
