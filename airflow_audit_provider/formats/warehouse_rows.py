"""Rows of a warehouse's table: the normalized table as Arrow, with the window each row belongs to.

Parts that were landed as that table are taken as they are; the rows of all others are made from the records' own text.

Invariant: the table has the columns of the normalized schema, whatever schema or format the parts have.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord, lines_of
from airflow_audit_provider.core.warehouse.port import KEY_COLUMNS, LoadClaim, SqlColumn
from airflow_audit_provider.formats.arrow import arrow_types, normalized_layout, typed_columns
from airflow_audit_provider.formats.normalized import columns as normalized
from airflow_audit_provider.formats.options import NORMALIZED
from airflow_audit_provider.formats.part_format import PartFormat
from airflow_audit_provider.formats.tables import NormalizedRows

if TYPE_CHECKING:
    import pyarrow as pa

# Text of the records in one Arrow table; with their columns they take some two and a half times as much.
_TABLE_BYTES = 4 << 20
_NS_PER_US = 1000


def table_columns() -> tuple[SqlColumn, ...]:
    """Returns the columns of a loaded table after its key: the normalized schema's, in order."""
    return tuple(
        SqlColumn(column.name, column.type, is_required=not column.nullable) for column in normalized.columns_of()
    )


def arrow_rows(version: ApiVersion, records: Sequence[AuditRecord], claim: LoadClaim) -> pa.Table:
    """Returns records as an Arrow table with the key's columns in front."""
    import pyarrow as pa

    schema = _arrow_schema()
    values = NormalizedRows(version, normalized.MINOR).table(records, lines_of(records))
    fields = list(schema)[len(KEY_COLUMNS) :]
    typed = typed_columns([values[field.name] for field in fields], [field.type for field in fields])
    return pa.Table.from_arrays([*_key_arrays(claim, len(records)), *typed], schema=schema)


def _key_arrays(claim: LoadClaim, count: int) -> list[pa.Array[Any]]:
    import pyarrow as pa

    key = (claim.dataset, claim.window.start, claim.window.end)
    scalars: list[Any] = [pa.scalar(value, kind) for value, kind in zip(key, _arrow_schema().types, strict=False)]
    return [pa.repeat(scalar, count) for scalar in scalars]


def landed_table(content: bytes, part_format: PartFormat, claim: LoadClaim) -> LandedTable | None:
    """Returns a part that was landed with the table's columns and has rows, None for any other.

    A column that a later schema version added may be missing, and is null then.
    """
    if (part_format.file_format, part_format.schema) != ("parquet", NORMALIZED):
        return None
    table = LandedTable(content, claim)
    minor = int(part_format.schema_version.split(".")[1])
    return table if table.record_count and table.has_columns_of(minor) else None


class LandedTable:
    """Satisfies :class:`~airflow_audit_provider.core.warehouse.port.TablePart`."""

    def __init__(self, content: bytes, claim: LoadClaim) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        self.content = content
        self._claim = claim
        self._file = parquet.ParquetFile(pa.BufferReader(content))
        known = {column.name for column in table_columns()}
        self.column_names = [name for name in self._file.schema_arrow.names if name in known]

    def has_columns_of(self, minor: int) -> bool:
        """Returns whether the file has the columns of a minor version as documented; it may have others."""
        schema = self._file.schema_arrow
        documented = normalized_layout(min(minor, normalized.MINOR)).schema
        # Equality of fields does not regard their metadata.
        return all(
            schema.get_all_field_indices(field.name) and schema.field(field.name) == field for field in documented
        )

    @property
    def record_count(self) -> int:
        """The number of rows."""
        return self._file.metadata.num_rows

    @property
    def record_bytes(self) -> float:
        """The average size of a record's own text in the largest row group."""
        metadata, place = self._file.metadata, self._file.schema.names.index(normalized.RAW_COLUMN)
        groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
        return max(each.column(place).total_uncompressed_size / each.num_rows for each in groups if each.num_rows)

    def event_bounds_ns(self) -> tuple[int, int]:
        """Returns the first and the last event time, from the rows and not from the file's statistics."""
        from pyarrow import compute

        bounds: Any = compute.min_max(self._file.read(["event_time"], use_threads=False).column(0))
        return bounds["min"].value * _NS_PER_US, bounds["max"].value * _NS_PER_US

    def tables(self) -> Iterator[pa.Table]:
        """Yields the rows as Arrow tables of some 4 MiB of text, with all columns of the table."""
        import pyarrow as pa

        schema = _arrow_schema()
        most_rows = max(1, int(_TABLE_BYTES / max(self.record_bytes, 1.0)))
        for rows in self._file.iter_batches(most_rows, columns=self.column_names, use_threads=False):
            columns = [
                rows.column(field.name) if field.name in self.column_names else pa.nulls(rows.num_rows, field.type)
                for field in list(schema)[len(KEY_COLUMNS) :]
            ]
            yield pa.Table.from_arrays([*_key_arrays(self._claim, rows.num_rows), *columns], schema=schema)


@cache
def _arrow_schema() -> pa.Schema:
    import pyarrow as pa

    columns = (*KEY_COLUMNS, *table_columns())
    return pa.schema([pa.field(c.name, arrow_types()[c.type], nullable=not c.is_required) for c in columns])
