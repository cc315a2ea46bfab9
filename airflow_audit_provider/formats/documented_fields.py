"""What the fields of a landed dataset are called and hold, in words any catalogue understands.

Knows: the columns of each schema, the documented fields of a record. Must not know: who asks, how parts are encoded.
Its one rule: only what is documented is named; records may hold more, and lose nothing.
"""

from __future__ import annotations

from typing import Any

from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.core.archive.manifest import Manifest
from airflow_audit_provider.formats.columns import COLUMNS, Kind
from airflow_audit_provider.formats.normalized import columns as normalized
from airflow_audit_provider.formats.ocsf import mapping as ocsf

_TYPES = {Kind.TEXT: "string", Kind.JSON: "json", Kind.BOOLEAN: "boolean", Kind.INTEGER: "bigint"}
_TABLE_TYPES = {
    normalized.ColumnType.TEXT: "string",
    normalized.ColumnType.JSON: "json",
    normalized.ColumnType.BOOLEAN: "boolean",
    normalized.ColumnType.INTEGER: "bigint",
    normalized.ColumnType.TIMESTAMP: "timestamp",
}
_OCSF_TYPES = {"text": "string", "integer": "bigint", "instant": "timestamp"}
_EVENT_TIMES = {ApiVersion.V1: "when", ApiVersion.V2: "action.time"}


def documented_fields(manifest: Manifest) -> list[tuple[str, str]]:
    """Return name and type of each documented field: a table's columns in order, or a record's own fields."""
    table = manifest.table
    if not table:
        return _own_fields(manifest.file_format, manifest.query.version)
    if table.schema == "ocsf":
        return [(name, _ocsf_type(kind)) for name, kind in ocsf.ATTRIBUTES.items()]
    minor = int(table.version.split(".")[1])
    return [(column.name, _TABLE_TYPES[column.type]) for column in normalized.columns_of(minor)]


def _ocsf_type(kind: Any) -> str:
    if isinstance(kind, str):
        return _OCSF_TYPES[kind]
    return "struct" if isinstance(kind, dict) else "array"


def _own_fields(file_format: str, version: ApiVersion) -> list[tuple[str, str]]:
    columns = COLUMNS[version]
    if file_format == "jsonl":
        own = [(".".join(column.path), _TYPES[column.kind]) for column in columns]
        return [("id", "string"), (_EVENT_TIMES[version], "timestamp"), *own]
    # Raw Parquet has the record itself and what puts it in its place; typed columns are the normalized schema's.
    inside = [(column.name, _TYPES[column.kind]) for column in columns] if file_format == "csv" else []
    return [("id", "string"), ("event_time", "timestamp"), *inside, ("record", "json")]
