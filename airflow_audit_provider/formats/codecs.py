"""Each format's encoder of raw records, and the way back from a part of any schema to the records' own text.

Knows: the formats' encoders and readers. Must not know: which choices are possible (``part_format``).
Its one rule: whatever a schema made of a record, what is read back is its own text.
"""

from __future__ import annotations

from collections.abc import Iterator

from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord
from airflow_audit_provider.formats.compression import open_compressor
from airflow_audit_provider.formats.csv import CsvEncoder, read_csv
from airflow_audit_provider.formats.jsonl import JsonlEncoder, read_jsonl, read_rows
from airflow_audit_provider.formats.parquet import ParquetEncoder, read_parquet
from airflow_audit_provider.formats.table_parquet import NormalizedParquetEncoder, OcsfParquetEncoder
from airflow_audit_provider.formats.table_text import RowCsvEncoder, RowJsonlEncoder
from airflow_audit_provider.formats.tables import NormalizedRows, OcsfRows

SchemaEncoder = NormalizedParquetEncoder | OcsfParquetEncoder | RowCsvEncoder | RowJsonlEncoder


def open_schema_encoder(
    file_format: str, compression: str, schema: str, minor: int, version: ApiVersion
) -> SchemaEncoder:
    """Return an encoder for one new part of a choice that ``part_format`` has checked."""
    if schema == "ocsf":
        if file_format == "parquet":
            return OcsfParquetEncoder(compression, version)
        return RowJsonlEncoder(open_compressor(compression), OcsfRows(version))
    if file_format == "parquet":
        return NormalizedParquetEncoder(compression, version, minor)
    shape, compressor = NormalizedRows(version, minor), open_compressor(compression)
    return RowJsonlEncoder(compressor, shape) if file_format == "jsonl" else RowCsvEncoder(compressor, shape)


RawEncoder = JsonlEncoder | CsvEncoder | ParquetEncoder


def open_raw_encoder(file_format: str, compression: str, version: ApiVersion) -> RawEncoder:
    """Return an encoder for one new part of records as the API sent them."""
    if file_format == "parquet":
        return ParquetEncoder(compression)
    compressor = open_compressor(compression)
    return JsonlEncoder(compressor) if file_format == "jsonl" else CsvEncoder(compressor, version)


def read_raw(
    file_format: str, compression: str, version: ApiVersion, content: bytes, column: str | None
) -> Iterator[AuditRecord]:
    """Yield the records of a part from the column that holds their text; None where a line of it is the text."""
    if column is None:
        return read_jsonl(version, compression, content)
    if file_format == "parquet":
        return read_parquet(version, content, column)
    if file_format == "csv":
        return read_csv(version, compression, content, column)
    return read_rows(version, compression, content, column)
