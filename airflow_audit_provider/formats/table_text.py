"""Schemas as text: a row as a line of JSON, or as a line of CSV.

Knows: lines, quoting. Must not know: which columns there are (``shapes``), stores.
Its one rule: every row has the same names in the same order where the schema is a table, and the record's own text.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.formats.compression import Compressor
from airflow_audit_provider.formats.tables import NormalizedRows, OcsfRows

_LINES = msgspec.json.Encoder()


class RowJsonlEncoder:
    """Encodes records as lines of JSON, one row or event each, into a compressed stream."""

    def __init__(self, compressor: Compressor, shape: NormalizedRows | OcsfRows) -> None:
        self._compressor = compressor
        self._shape = shape

    @property
    def type_mismatches(self) -> Mapping[str, int]:
        """How many values did not fit, by column."""
        return self._shape.type_mismatches

    def encode(self, records: Sequence[AuditRecord], lines: bytes) -> bytes:
        """Return the bytes ready so far for these records."""
        return self._compressor.compress(_LINES.encode_lines(self._shape.rows(records, lines)))

    def finish(self) -> bytes:
        """Return the last bytes of the part."""
        return self._compressor.flush()


class RowCsvEncoder:
    """Encodes records as rows of the normalized table; the header comes first, also in an empty part."""

    def __init__(self, compressor: Compressor, shape: NormalizedRows) -> None:
        self._compressor = compressor
        self._shape = shape
        self._header: list[list[Any]] = [[column.name for column in shape.columns]]

    @property
    def type_mismatches(self) -> Mapping[str, int]:
        """How many values did not fit, by column."""
        return self._shape.type_mismatches

    def encode(self, records: Sequence[AuditRecord], lines: bytes) -> bytes:
        """Return the bytes ready so far for these records."""
        rows, self._header = [*self._header, *self._rows(records, lines)], []
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\r\n").writerows(rows)
        return self._compressor.compress(text.getvalue().encode())

    def finish(self) -> bytes:
        """Return the last bytes of the part."""
        return self.encode((), b"") + self._compressor.flush()

    def _rows(self, records: Sequence[AuditRecord], lines: bytes) -> Iterator[list[Any]]:
        for row in self._shape.rows(records, lines):
            yield [_cell(value) for value in row.values()]


def _cell(value: Any) -> Any:
    return ("true" if value else "false") if isinstance(value, bool) else value
