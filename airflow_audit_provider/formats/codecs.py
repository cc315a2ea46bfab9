"""Encoder and reader of each file format, for rows of each schema.

To add a file format, add its encoder and reader here and its name to ``options``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.formats.compression import open_compressor
from airflow_audit_provider.formats.csv import CsvEncoder, read_csv
from airflow_audit_provider.formats.jsonl import JsonlEncoder, read_jsonl, read_jsonl_pieces
from airflow_audit_provider.formats.ocsf.events import EventForm
from airflow_audit_provider.formats.ocsf.severity import Overrides
from airflow_audit_provider.formats.options import OCSF_SCHEMAS, RAW
from airflow_audit_provider.formats.parquet import ParquetEncoder, read_parquet, read_parquet_lines
from airflow_audit_provider.formats.part_rows import PartRows
from airflow_audit_provider.formats.tables import NormalizedRows, OcsfRows, RawRows, Rows, TableRows


class PartColumns(NamedTuple):
    """The columns from which records are read back.

    ``text`` holds a record's own text, None where each line is the record; ``id_path`` is the dotted path of its id.
    """

    text: str | None
    id_path: str = "id"


class RowForm(NamedTuple):
    """The schema of rows, its minor version, and the severities of OCSF events that the user changed.

    ``page_rows`` bounds the pages of Parquet, see ``PartFormat.open_encoder``.
    """

    schema: str
    minor: int
    severities: Overrides = ()
    page_rows: int | None = None


Encoder = JsonlEncoder | CsvEncoder | ParquetEncoder


def open_encoder(file_format: str, compression: str, version: ApiVersion, rows: RowForm) -> Encoder:
    """Returns an encoder for one new part of a choice that ``part_format`` has checked."""
    if file_format == "parquet":
        return ParquetEncoder(compression, _rows(version, rows), rows.page_rows)
    compressor = open_compressor(compression)
    if file_format == "csv":
        return CsvEncoder(compressor, _table_rows(version, rows))
    return JsonlEncoder(compressor, _rows(version, rows))


def _rows(version: ApiVersion, form: RowForm) -> Rows:
    if form.schema in OCSF_SCHEMAS:
        return OcsfRows(version, EventForm(form.schema, form.severities))
    return _table_rows(version, form)


def _table_rows(version: ApiVersion, form: RowForm) -> TableRows:
    return RawRows() if form.schema == RAW else NormalizedRows(version, form.minor)


def read_part(file_format: str, compression: str, content: bytes, columns: PartColumns) -> Iterator[PartRows]:
    """Yields the rows of a part in groups."""
    if columns.text is None or file_format == "jsonl":
        return read_jsonl(compression, content, columns.text, columns.id_path)
    if file_format == "csv":
        return read_csv(compression, content, columns.text)
    return read_parquet(content, columns.text, columns.id_path)


def read_lines(
    file_format: str, compression: str, content: bytes, columns: PartColumns
) -> Iterator[tuple[bytes, int | None]]:
    """Yields the records' own text in consecutive pieces of lines.

    A piece with a number consists of so many texts, each followed by a line feed; one without ends anywhere.
    """
    if columns.text is None:
        yield from ((piece, None) for piece in read_jsonl_pieces(compression, content))
    elif file_format == "parquet":
        yield from read_parquet_lines(content, columns.text, columns.id_path)
    else:
        for rows in read_part(file_format, compression, content, columns):
            yield b"\n".join([*rows.texts, b""]), len(rows.texts)
