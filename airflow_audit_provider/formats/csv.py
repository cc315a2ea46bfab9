"""CSV: RFC 4180 with CR LF, UTF-8, and a header line, which an empty part has, too."""

from __future__ import annotations

import csv
import io
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.formats.compression import Compressor, open_plain
from airflow_audit_provider.formats.part_rows import PartRows
from airflow_audit_provider.formats.tables import TableRows

_READ_RECORDS = 1000


class CsvEncoder:
    """Encodes records as lines of cells into a compressed stream; the header comes first."""

    def __init__(self, compressor: Compressor, rows: TableRows) -> None:
        self._compressor = compressor
        self._rows = rows
        self._has_header = False

    @property
    def type_mismatches(self) -> Mapping[str, int]:
        """The number of values of another type than their column's, by column."""
        return self._rows.type_mismatches

    def encode(self, records: Sequence[AuditRecord], lines: bytes) -> bytes:
        """Returns the bytes that are ready so far."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\r\n")
        if not self._has_header:
            writer.writerow(self._rows.column_names)
            self._has_header = True
        writer.writerows(self._rows.cells(records, lines))
        return self._compressor.compress(text.getvalue().encode())

    def finish(self) -> bytes:
        """Returns the last bytes of the part."""
        return self.encode((), b"") + self._compressor.flush()


class WideFields:
    """Lets the fields of CSV have any length while a reader of this module is open.

    Python has one limit for the whole process. The last reader that ends restores it, unless it was changed meanwhile.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reader_count = self._limit_before = 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._reader_count:
                self._limit_before = csv.field_size_limit(sys.maxsize)
            self._reader_count += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._reader_count -= 1
            if not self._reader_count and csv.field_size_limit() == sys.maxsize:
                csv.field_size_limit(self._limit_before)


wide_fields = WideFields()


def read_csv(compression: str, content: bytes, column: str) -> Iterator[PartRows]:
    """Yields the rows of a part, with a thousand in memory at a time; ``column`` holds the records' text."""
    with wide_fields, io.TextIOWrapper(open_plain(compression, content), "utf-8", newline="") as text:
        rows = csv.DictReader(text)
        while group := list(islice(rows, _READ_RECORDS)):
            yield PartRows([row[column].encode() for row in group], [row["id"] for row in group])
