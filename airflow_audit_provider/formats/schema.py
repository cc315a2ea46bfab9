"""What the fields of a landed dataset are called and hold, in words any catalogue understands.

Knows: the columns of tables, the documented fields of a record. Must not know: who asks, how parts are encoded.
Its one rule: only what is documented is named; records may hold more, and lose nothing.
"""

from __future__ import annotations

from airflow_audit_provider.core.records import ApiVersion
from airflow_audit_provider.formats.columns import COLUMNS, Kind

_TYPES = {Kind.TEXT: "string", Kind.JSON: "json", Kind.BOOLEAN: "boolean", Kind.INTEGER: "bigint"}
_EVENT_TIMES = {ApiVersion.V1: "when", ApiVersion.V2: "action.time"}


def documented_fields(file_format: str, version: ApiVersion) -> list[tuple[str, str]]:
    """Return name and type of each documented field: a table's columns in order, or a record's own fields."""
    columns = COLUMNS[version]
    if file_format == "jsonl":
        own = [(".".join(column.path), _TYPES[column.kind]) for column in columns]
        return [("id", "string"), (_EVENT_TIMES[version], "timestamp"), *own]
    inside = [(column.name, _TYPES[column.kind]) for column in columns]
    return [("id", "string"), ("event_time", "timestamp"), *inside, ("record", "json")]
