"""Records as rows of a warehouse's table: the columns, and Arrow tables that hold them.

Knows: pyarrow, imported when rows are made; the columns of records. Must not know: databases, ledgers.
Its one rule: the same columns for both API versions, and ``raw`` is the whole record: nothing is lost.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from airflow_audit_provider.core.records import ApiVersion, AuditRecord
from airflow_audit_provider.core.warehouse import KEY_COLUMNS, ColumnType, LoadClaim, TableColumn
from airflow_audit_provider.formats.columns import COLUMNS, column_values

_TEXTS = "actor_id actor_type actor_email actor_ip action_type zone_name resource_id resource_type".split()
_OTHER_NAMES = {"actor_ip_address": "actor_ip"}
_NS_PER_US = 1000
_OUTCOMES = {True: True, False: False, "success": True, "failure": False}


def table_columns() -> tuple[TableColumn, ...]:
    """Return the columns of a loaded table after its key, in order."""
    return (
        TableColumn("id", ColumnType.TEXT, is_required=True),
        TableColumn("event_time", ColumnType.INSTANT, is_required=True),
        TableColumn("api_version", ColumnType.TEXT, is_required=True),
        *(TableColumn(name, ColumnType.TEXT) for name in _TEXTS),
        TableColumn("action_succeeded", ColumnType.BOOLEAN),
        TableColumn("raw", ColumnType.TEXT, is_required=True),
    )


def arrow_rows(version: ApiVersion, records: Sequence[AuditRecord], claim: LoadClaim) -> Any:
    """Return records as an Arrow table with the key's columns in front."""
    pyarrow = importlib.import_module("pyarrow")
    found = column_values(version, records, b"".join(record.raw + b"\n" for record in records))
    named = {_OTHER_NAMES.get(c.name, c.name): values for c, values in zip(COLUMNS[version], found, strict=True)}
    missing = [None] * len(records)
    window = claim.window
    values = [
        [claim.dataset] * len(records),
        [window.start] * len(records),
        [window.end] * len(records),
        [record.id for record in records],
        [record.event_ns // _NS_PER_US for record in records],
        [str(version)] * len(records),
        *([_text(value) for value in named.get(name, missing)] for name in _TEXTS),
        [_OUTCOMES.get(value) for value in named["action_result"]],
        [record.raw.decode("utf-8", "replace") for record in records],
    ]
    schema = arrow_schema((*KEY_COLUMNS, *table_columns()))
    arrays = [pyarrow.array(column, field.type) for column, field in zip(values, schema, strict=True)]
    return pyarrow.Table.from_arrays(arrays, schema=schema)


def _text(value: Any) -> str | None:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def arrow_schema(columns: Sequence[TableColumn]) -> Any:
    """Return columns as an Arrow schema."""
    pyarrow = importlib.import_module("pyarrow")
    types = {
        ColumnType.TEXT: pyarrow.string(),
        ColumnType.BOOLEAN: pyarrow.bool_(),
        ColumnType.INTEGER: pyarrow.int64(),
        ColumnType.INSTANT: pyarrow.timestamp("us", tz="UTC"),
    }
    return pyarrow.schema([pyarrow.field(c.name, types[c.type], nullable=not c.is_required) for c in columns])
