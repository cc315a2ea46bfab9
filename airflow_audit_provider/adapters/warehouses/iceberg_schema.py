"""What columns, windows and data files are in Iceberg's terms.

Knows: pyiceberg's types and expressions, imported when they are asked for. Must not know: catalogs, commits.
Its one rule: rows of a window are found by dataset and window, never by partition, so that windows need not be days.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from airflow_audit_provider.core.archive.object_keys import WindowKeys, window_in
from airflow_audit_provider.core.warehouse.port import KEY_COLUMNS, LedgerEntry, LoadClaim, SqlColumn, SqlType
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import ConfigurationError

_LEDGER = "audit.load"


def facts_of(claim: LoadClaim) -> dict[str, str]:
    """Return what a snapshot's summary says of the window it brought."""
    newest = claim.newest
    return {
        "audit.dataset": claim.dataset,
        "audit.window-start": claim.window.start.isoformat(),
        "audit.window-end": claim.window.end.isoformat(),
        "audit.generation": str(newest.generation),
        "audit.manifest-sha256": str(newest.manifest_sha256),
        "audit.record-count": str(newest.record_count),
    }


def ledger_prefix(dataset: str) -> str:
    """Return how the properties of a dataset's windows begin."""
    return f"{_LEDGER}.{hashlib.sha256(dataset.encode()).hexdigest()[:16]}."


def ledger_key(dataset: str, window: TimeWindow) -> str:
    """Return the property of a window."""
    return ledger_prefix(dataset) + WindowKeys(window, window.start.date()).name


def ledger_text(entry: LedgerEntry) -> str:
    """Return what the property says."""
    return f"{entry.generation} {entry.record_count} {entry.manifest_sha256}"


def ledger_entry(key: str, text: str) -> LedgerEntry:
    """Return the entry a property stands for."""
    window, (generation, record_count, sha256) = window_in(key), text.split()
    if window is None:
        raise ConfigurationError(f"The table property {key} is none this provider writes. Remove it.")
    return LedgerEntry(window, int(generation), sha256, int(record_count))


_PARTITION_COLUMN = "event_time"


def iceberg_type(column: SqlColumn) -> Any:
    """Return a column's type."""
    from pyiceberg.types import BooleanType, LongType, StringType, TimestamptzType

    known: dict[SqlType, Any] = {
        SqlType.TEXT: StringType(),
        SqlType.BOOLEAN: BooleanType(),
        SqlType.INTEGER: LongType(),
        SqlType.INSTANT: TimestamptzType(),
    }
    return known[column.type]


def iceberg_schema(columns: Sequence[SqlColumn]) -> Any:
    """Return the schema of a new table."""
    from pyiceberg.schema import Schema
    from pyiceberg.types import NestedField

    numbered = enumerate(columns, 1)
    return Schema(*(NestedField(number, c.name, iceberg_type(c), required=c.is_required) for number, c in numbered))


def by_day(schema: Any) -> Any:
    """Return the partitions of a new table: the day of the event."""
    from pyiceberg.partitioning import PartitionField, PartitionSpec
    from pyiceberg.transforms import DayTransform

    source_id = schema.find_field(_PARTITION_COLUMN).field_id
    return PartitionSpec(PartitionField(source_id, 1000, DayTransform(), "event_day"))


def window_filter(claim: LoadClaim) -> Any:
    """Return which rows a claim replaces: by window and dataset, so that windows need not be days.

    That their events lie in the window is true of all of them, and says which manifests need not be read.
    """
    from pyiceberg import expressions

    start, end = (instant.isoformat() for instant in (claim.window.start, claim.window.end))
    values = (claim.dataset, start, end)
    # Pydantic hides from mypy how an expression is made.
    made: Any = expressions
    equal = [made.EqualTo(column.name, value) for column, value in zip(KEY_COLUMNS, values, strict=True)]
    inside = (made.GreaterThanOrEqual(_PARTITION_COLUMN, start), made.LessThan(_PARTITION_COLUMN, end))
    return made.And(*equal, *inside)


def is_of_one_window(file: Any, schema: Any) -> bool:
    """Say whether all rows of a data file have the same key, by the least and greatest values it notes."""
    fields = [schema.find_field(column.name).field_id for column in KEY_COLUMNS]
    lower, upper = file.lower_bounds or {}, file.upper_bounds or {}
    return all(lower.get(field) is not None and lower.get(field) == upper.get(field) for field in fields)
