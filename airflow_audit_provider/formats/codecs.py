"""Encoder and reader of each file format, for rows of each schema.

To add a file format, add its encoder and reader here and its name to ``options``.
"""

from __future__ import annotations

from collections.abc import Iterator

from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord
from airflow_audit_provider.formats.compression import open_compressor
from airflow_audit_provider.formats.csv import CsvEncoder, read_csv
from airflow_audit_provider.formats.jsonl import JsonlEncoder, read_jsonl
from airflow_audit_provider.formats.options import OCSF, RAW
from airflow_audit_provider.formats.parquet import ParquetEncoder, read_parquet
from airflow_audit_provider.formats.tables import NormalizedRows, OcsfRows, RawRows, Rows, TableRows

Encoder = JsonlEncoder | CsvEncoder | ParquetEncoder


def open_encoder(file_format: str, compression: str, version: ApiVersion, schema: str, minor: int) -> Encoder:
    """Returns an encoder for one new part of a choice that ``part_format`` has checked."""
    if file_format == "parquet":
        return ParquetEncoder(compression, _rows(version, schema, minor))
    compressor = open_compressor(compression)
    if file_format == "csv":
        return CsvEncoder(compressor, _table_rows(version, schema, minor))
    return JsonlEncoder(compressor, _rows(version, schema, minor))


def _rows(version: ApiVersion, schema: str, minor: int) -> Rows:
    return OcsfRows(version) if schema == OCSF else _table_rows(version, schema, minor)


def _table_rows(version: ApiVersion, schema: str, minor: int) -> TableRows:
    return RawRows() if schema == RAW else NormalizedRows(version, minor)


def read_part(
    file_format: str, compression: str, version: ApiVersion, content: bytes, column: str | None
) -> Iterator[AuditRecord]:
    """Yields the records of a part from the column that holds their text; None where each line is a record."""
    if column is None or file_format == "jsonl":
        return read_jsonl(version, compression, content, column)
    if file_format == "csv":
        return read_csv(version, compression, content, column)
    return read_parquet(version, content, column)
