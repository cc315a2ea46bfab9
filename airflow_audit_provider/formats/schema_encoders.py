"""The encoders of the schemas ``normalized`` and ``ocsf``, by file format.

Knows: which encoder writes which schema in which format. Must not know: which choices exist (``part_format``).
Its one rule: it is imported when a part of a schema is opened, and not when a DAG is parsed.
"""

from __future__ import annotations

from airflow_audit_provider.core.records import ApiVersion
from airflow_audit_provider.formats.compression import open_compressor
from airflow_audit_provider.formats.shapes import NormalizedShape, OcsfShape
from airflow_audit_provider.formats.table_parquet import NormalizedParquetEncoder, OcsfParquetEncoder
from airflow_audit_provider.formats.table_text import RowCsvEncoder, RowJsonlEncoder

SchemaEncoder = NormalizedParquetEncoder | OcsfParquetEncoder | RowCsvEncoder | RowJsonlEncoder


def open_schema_encoder(
    file_format: str, compression: str, schema: str, minor: int, version: ApiVersion
) -> SchemaEncoder:
    """Return an encoder for one new part of a choice that ``part_format`` has checked."""
    if schema == "ocsf":
        if file_format == "parquet":
            return OcsfParquetEncoder(compression, version)
        return RowJsonlEncoder(open_compressor(compression), OcsfShape(version))
    if file_format == "parquet":
        return NormalizedParquetEncoder(compression, version, minor)
    shape, compressor = NormalizedShape(version, minor), open_compressor(compression)
    return RowJsonlEncoder(compressor, shape) if file_format == "jsonl" else RowCsvEncoder(compressor, shape)
