"""Columns, windows and load ledger in Iceberg's terms: types, partitions, filters, properties.

The ledger is kept in table properties, one for each window, because snapshots expire.

Invariant: the rows of a window are found by dataset and window, never by partition, so that windows need not be days.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from airflow_audit_provider.adapters.warehouses.ledger_text import entry_of_value, name_digest, window_name
from airflow_audit_provider.core.archive.object_keys import window_in
from airflow_audit_provider.core.warehouse.port import (
    KEY_COLUMNS,
    ColumnType,
    LedgerEntry,
    LoadClaim,
    SqlColumn,
)
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import ConfigurationError

_ODD_CHARACTERS = "#?%/\\*[]:"
_LEDGER_PREFIX = "audit.load"
_PARTITION_COLUMN = "event_time"
# Ids of partition fields start here (PARTITION_FIELD_ID_START of pyiceberg).
_FIRST_PARTITION_FIELD_ID = 1000


def iceberg_namespace(name: str) -> str:
    """Returns the namespace in ``namespace.table``; raises ``ConfigurationError`` for any other text.

    The table's files are in folders of these names, and libraries disagree about some characters in a URI.
    """
    levels = name.split(".")
    is_odd = not name.isprintable() or any(character in name for character in _ODD_CHARACTERS)
    if len(levels) == 1 or is_odd or any(not level or level != level.strip() for level in levels):
        raise ConfigurationError(
            f"{name!r} is not a valid Iceberg table name. Give namespace.table, without {' '.join(_ODD_CHARACTERS)}, "
            "and without spaces around a name."
        )
    return name.rpartition(".")[0]


def in_lower_case(name: Iterable[str]) -> tuple[str, ...]:
    """Returns the levels of a name in lower case."""
    return tuple(level.lower() for level in name)


def iceberg_type(column: SqlColumn) -> Any:
    """Returns the Iceberg type of a column."""
    from pyiceberg.types import BooleanType, LongType, StringType, TimestamptzType

    known: dict[ColumnType, Any] = {
        ColumnType.TEXT: StringType(),
        ColumnType.JSON: StringType(),
        ColumnType.BOOLEAN: BooleanType(),
        ColumnType.INTEGER: LongType(),
        ColumnType.TIMESTAMP: TimestamptzType(),
    }
    return known[column.type]


def iceberg_schema(columns: Sequence[SqlColumn]) -> Any:
    """Returns the schema of a new table."""
    from pyiceberg.schema import Schema
    from pyiceberg.types import NestedField

    numbered = enumerate(columns, 1)
    return Schema(*(NestedField(number, c.name, iceberg_type(c), required=c.is_required) for number, c in numbered))


def partition_spec_by_day(schema: Any) -> Any:
    """Returns the partition spec of a new table: the day of ``event_time``."""
    from pyiceberg.partitioning import PartitionField, PartitionSpec
    from pyiceberg.transforms import DayTransform

    source_id = schema.find_field(_PARTITION_COLUMN).field_id
    return PartitionSpec(PartitionField(source_id, _FIRST_PARTITION_FIELD_ID, DayTransform(), "event_day"))


def window_filter(claim: LoadClaim) -> Any:
    """Returns the filter for the rows that a claim replaces: by dataset and window.

    The condition on ``event_time`` is true for all of them. It lets Iceberg skip the manifests of other days.
    """
    from pyiceberg import expressions

    start, end = (instant.isoformat() for instant in (claim.window.start, claim.window.end))
    values = (claim.dataset, start, end)
    # Mypy does not see the arguments of these expressions, which are pydantic models.
    untyped: Any = expressions
    equal = [untyped.EqualTo(column.name, value) for column, value in zip(KEY_COLUMNS, values, strict=True)]
    inside = (untyped.GreaterThanOrEqual(_PARTITION_COLUMN, start), untyped.LessThan(_PARTITION_COLUMN, end))
    return untyped.And(*equal, *inside)


def is_of_one_window(file: Any, schema: Any) -> bool:
    """Returns whether all rows of a data file have the same dataset and window, by the file's lower and upper bounds.

    Returns False if the file has no bounds of these columns.
    """
    fields = [schema.find_field(column.name).field_id for column in KEY_COLUMNS]
    lower, upper = file.lower_bounds or {}, file.upper_bounds or {}
    return all(lower.get(field) is not None and lower.get(field) == upper.get(field) for field in fields)


def snapshot_properties(claim: LoadClaim) -> dict[str, str]:
    """Returns the summary properties of the snapshot that loads a window."""
    entry = claim.entry
    return {
        "audit.dataset": claim.dataset,
        "audit.window-start": claim.window.start.isoformat(),
        "audit.window-end": claim.window.end.isoformat(),
        "audit.generation": str(entry.generation),
        "audit.manifest-sha256": entry.manifest_sha256,
        "audit.record-count": str(entry.record_count),
    }


def ledger_prefix(dataset: str) -> str:
    """Returns the common prefix of the ledger properties of a dataset."""
    return f"{_LEDGER_PREFIX}.{name_digest(dataset)}."


def ledger_key(dataset: str, window: TimeWindow) -> str:
    """Returns the key of the ledger property of a window."""
    return ledger_prefix(dataset) + window_name(window)


def ledger_entry(key: str, value: str) -> LedgerEntry:
    """Returns the ledger entry in a property; raises ``ConfigurationError`` if it is none of this release."""
    window = window_in(key)
    if window is None:
        raise ConfigurationError(
            f"The table property {key} has the prefix of the load ledger, but names no window. Remove it."
        )
    try:
        return entry_of_value(window, value)
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigurationError(
            f"The table property {key} is not an entry of the load ledger ({error!r}): another program, or "
            f"airflow-audit-provider before 1.0.0rc1, set it. Remove the properties that begin with {_LEDGER_PREFIX}, "
            "so that every window is loaded again."
        ) from error
