"""CSV as RFC 4180 has it, UTF-8, with a header line: documented columns, then the whole record as JSON.

Knows: quoting. Must not know: which columns there are (``columns``).
Its one rule: ``record`` is the record's own bytes, so that the table loses nothing.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator, Sequence
from itertools import islice

import msgspec

from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord, read_records
from airflow_audit_provider.core.windows.window import format_ns
from airflow_audit_provider.formats.columns import COLUMNS, column_values
from airflow_audit_provider.formats.compression import Compressor, open_plain
from airflow_audit_provider.formats.jsonl import NO_TYPE_MISMATCHES
from airflow_audit_provider.formats.lenient_json import readable

_GROUP_RECORDS = 1000


class CsvEncoder:
    """Encodes records as rows into a compressed stream; the header comes first, also in an empty part."""

    type_mismatches = NO_TYPE_MISMATCHES

    def __init__(self, compressor: Compressor, version: ApiVersion) -> None:
        self._compressor = compressor
        self._version = version
        self._header: list[list[object]] = [
            ["id", "event_time", *(column.name for column in COLUMNS[version]), "record"]
        ]

    def encode(self, records: Sequence[AuditRecord], lines: bytes) -> bytes:
        """Return the bytes ready so far for these records."""
        rows, self._header = self._header + self._rows(records, lines), []
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\r\n").writerows(rows)
        return self._compressor.compress(text.getvalue().encode())

    def finish(self) -> bytes:
        """Return the last bytes of the part."""
        return self.encode((), b"") + self._compressor.flush()

    def _rows(self, records: Sequence[AuditRecord], lines: bytes) -> list[list[object]]:
        columns = [[_csv_text(value) for value in column] for column in column_values(self._version, records, lines)]
        ids = [record.id for record in records]
        times = [format_ns(record.event_ns) for record in records]
        texts = [readable(record.raw) for record in records]
        return [list(row) for row in zip(ids, times, *columns, texts, strict=True)]


def _csv_text(value: object) -> object:
    return ("true" if value else "false") if isinstance(value, bool) else readable(value)


def read_csv(version: ApiVersion, compression: str, content: bytes, column: str = "record") -> Iterator[AuditRecord]:
    """Yield the records of a part from the column that holds them; a thousand are in memory at a time."""
    csv.field_size_limit(sys.maxsize)
    with io.TextIOWrapper(open_plain(compression, content), "utf-8", newline="") as text:
        rows = csv.DictReader(text)
        while raws := [msgspec.Raw(row[column].encode()) for row in islice(rows, _GROUP_RECORDS)]:
            yield from read_records(version, raws)
