"""Schemas as Parquet, as warehouses like it: sorted, with statistics, in row groups bounded by size.

Knows: pyarrow, which is imported when the first part is opened and nowhere else.
Must not know: which columns there are (``arrow_types``), stores.
Its one rule: the schema is the same for every part of a version, also for an empty one, and the file says which it is.
"""

from __future__ import annotations

import importlib
import io
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord
from airflow_audit_provider.formats.arrow import ArrowSchema, normalized_schema, ocsf_schema
from airflow_audit_provider.formats.lenient_json import readable
from airflow_audit_provider.formats.parquet import DrainedSink, raw_column, typed_column
from airflow_audit_provider.formats.tables import NormalizedRows, OcsfRows

# Of records' own text: with the columns cut from it this is some 50 MB in memory, the most that waits for its group.
_ROW_GROUP_BYTES = 16 << 20
_ROW_GROUP_RECORDS = 50_000
_LINES = msgspec.json.Encoder()


class _TableParquetEncoder(ABC):
    """Writes what records became as row groups; what comes waits as columns until its group is full."""

    def __init__(self, compression: str, schema: ArrowSchema) -> None:
        parquet = importlib.import_module("pyarrow.parquet")
        self._pa = importlib.import_module("pyarrow")
        self._schema = schema.arrow
        self._sink = DrainedSink()
        self._waiting: list[Any] = []
        self._waiting_count = self._waiting_bytes = 0
        self._writer = parquet.ParquetWriter(
            self._pa.PythonFile(self._sink, mode="w"),
            schema.arrow,
            compression=compression,
            use_dictionary=list(schema.repeating),
            write_statistics=list(schema.comparable),
            sorting_columns=[parquet.SortingColumn(schema.sorted_by)],
            write_page_index=True,
            # Arrow's own pool takes memory by tens of megabytes, which costs time and a third more at the peak.
            memory_pool=self._pa.system_memory_pool(),
        )

    def encode(self, records: Sequence[AuditRecord], lines: bytes) -> bytes:
        """Return the bytes ready so far; rows wait as columns until their group is full."""
        if records:
            self._waiting.append(self._as_columns(records, lines))
            self._waiting_count += len(records)
            self._waiting_bytes += len(lines)
        if self._waiting_bytes >= _ROW_GROUP_BYTES or self._waiting_count >= _ROW_GROUP_RECORDS:
            self._write()
        return self._sink.drain()

    def finish(self) -> bytes:
        """Return the last bytes of the part, its footer included."""
        self._write()
        self._writer.close()
        return self._sink.drain()

    @abstractmethod
    def _as_columns(self, records: Sequence[AuditRecord], lines: bytes) -> Any:
        """Return the records as Arrow columns of the schema."""

    def _write(self) -> None:
        """Write what waits as one row group."""
        if self._waiting:
            self._writer.write_table(self._pa.Table.from_batches(self._waiting, self._schema), self._waiting_count)
        self._waiting, self._waiting_count, self._waiting_bytes = [], 0, 0


class NormalizedParquetEncoder(_TableParquetEncoder):
    """Encodes records as rows of the normalized table."""

    def __init__(self, compression: str, version: ApiVersion, minor: int) -> None:
        self._shape = NormalizedRows(version, minor)
        super().__init__(compression, normalized_schema(minor))
        self._fields = list(self._schema)[:-1]
        self._absent = {column.name for column in self._shape.columns if column.is_absent_from(version)}

    @property
    def type_mismatches(self) -> Mapping[str, int]:
        """How many values did not fit, by column."""
        return self._shape.type_mismatches

    def _as_columns(self, records: Sequence[AuditRecord], lines: bytes) -> Any:
        table = self._shape.table(records, lines)
        arrays = [
            self._pa.nulls(len(records), field.type)
            if field.name in self._absent
            else typed_column(self._pa, table[field.name], field.type)
            for field in self._fields
        ]
        return self._pa.RecordBatch.from_arrays([*arrays, raw_column(self._pa, records)], schema=self._schema)


class OcsfParquetEncoder(_TableParquetEncoder):
    """Encodes records as OCSF events, objects as structs; free-form JSON in them is text."""

    def __init__(self, compression: str, version: ApiVersion) -> None:
        self._shape = OcsfRows(version, readable)
        super().__init__(compression, ocsf_schema())
        self._json = importlib.import_module("pyarrow.json")

    @property
    def type_mismatches(self) -> Mapping[str, int]:
        """How many values did not fit, by column of the normalized table."""
        return self._shape.type_mismatches

    def _as_columns(self, records: Sequence[AuditRecord], lines: bytes) -> Any:
        events = _LINES.encode_lines(self._shape.rows(records, lines))
        table = self._json.read_json(
            io.BytesIO(events),
            # A block has to hold the longest line, and there is nothing to win by more than one.
            read_options=self._json.ReadOptions(use_threads=False, block_size=len(events) + 1),
            parse_options=self._json.ParseOptions(explicit_schema=self._schema, unexpected_field_behavior="error"),
        ).combine_chunks()
        columns = [table.column(name).combine_chunks() for name in self._schema.names]
        return self._pa.RecordBatch.from_arrays(columns, schema=self._schema)
