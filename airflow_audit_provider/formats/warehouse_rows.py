"""Rows of a warehouse's table: the normalized table as Arrow, with the window each row belongs to.

Invariant: the table has the columns of the normalized schema, whatever schema or format the parts have.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord, lines_of
from airflow_audit_provider.core.warehouse.port import KEY_COLUMNS, LoadClaim, SqlColumn
from airflow_audit_provider.formats.arrow import arrow_types, typed_column
from airflow_audit_provider.formats.normalized import columns as normalized
from airflow_audit_provider.formats.tables import NormalizedRows

if TYPE_CHECKING:
    import pyarrow as pa


def table_columns() -> tuple[SqlColumn, ...]:
    """Returns the columns of a loaded table after its key: the normalized schema's, in order."""
    return tuple(
        SqlColumn(column.name, column.type, is_required=not column.nullable) for column in normalized.columns_of()
    )


def arrow_rows(version: ApiVersion, records: Sequence[AuditRecord], claim: LoadClaim) -> pa.Table:
    """Returns records as an Arrow table with the key's columns in front."""
    import pyarrow as pa

    schema, count = _arrow_schema(), len(records)
    key = (claim.dataset, claim.window.start, claim.window.end)
    scalars: list[Any] = [pa.scalar(value, kind) for value, kind in zip(key, schema.types, strict=False)]
    repeated = [pa.repeat(scalar, count) for scalar in scalars]
    values = NormalizedRows(version, normalized.MINOR).table(records, lines_of(records))
    typed = [typed_column(values[field.name], field.type) for field in list(schema)[len(key) :]]
    return pa.Table.from_arrays([*repeated, *typed], schema=schema)


@cache
def _arrow_schema() -> pa.Schema:
    import pyarrow as pa

    columns = (*KEY_COLUMNS, *table_columns())
    return pa.schema([pa.field(c.name, arrow_types()[c.type], nullable=not c.is_required) for c in columns])
