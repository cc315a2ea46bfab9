"""Parquet of raw records: the id, the event time, the record's own JSON; row groups bounded by size.

Knows: pyarrow, which is imported when the first part is opened and nowhere else.
Must not know: what is in a record (typed columns are the normalized schema's), stores.
Its one rule: the schema is the same for every part, also for an empty one, and ``record`` is the record's own bytes.
"""

from __future__ import annotations

import importlib
import io
from array import array
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import msgspec

from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord, read_records
from airflow_audit_provider.formats.jsonl import NO_TYPE_MISMATCHES
from airflow_audit_provider.formats.lenient_json import readable

_ROW_GROUP_RECORDS = 10_000
# Of records' own text, the most that waits for its group; that of ten thousand usual records is less.
_ROW_GROUP_BYTES = 16 << 20
_READ_RECORDS = 1000
_NS_PER_US = 1000


class ParquetEncoder:
    """Encodes records into one Parquet file; rows are written in groups of 10,000, or of 16 MiB, or a little more.

    What is encoded at once becomes columns at once: a thousand records stay in the processor's cache.
    """

    type_mismatches = NO_TYPE_MISMATCHES

    def __init__(self, compression: str) -> None:
        self._pa = importlib.import_module("pyarrow")
        parquet = importlib.import_module("pyarrow.parquet")
        self._schema = _schema(self._pa)
        self._sink = DrainedSink()
        self._waiting: list[Any] = []
        self._waiting_count = self._waiting_bytes = 0
        self._writer = parquet.ParquetWriter(
            self._pa.PythonFile(self._sink, mode="w"),
            self._schema,
            compression=compression,
            # Each id and record is its own, and nobody looks for the least and the greatest record.
            use_dictionary=False,
            write_statistics=["id", "event_time"],
            sorting_columns=[parquet.SortingColumn(self._schema.get_field_index("event_time"))],
            write_page_index=True,
            store_schema=False,
            # Arrow's own pool takes memory by tens of megabytes, which costs time and a third more at the peak.
            memory_pool=self._pa.system_memory_pool(),
        )

    def encode(self, records: Sequence[AuditRecord], lines: bytes) -> bytes:
        """Return the bytes ready so far; rows wait as columns until their group is full."""
        self._waiting.append(self._columns(records))
        self._waiting_count += len(records)
        self._waiting_bytes += len(lines)
        if self._waiting_count >= _ROW_GROUP_RECORDS or self._waiting_bytes >= _ROW_GROUP_BYTES:
            self._write()
        return self._sink.drain()

    def finish(self) -> bytes:
        """Return the last bytes of the part, its footer included."""
        if self._waiting_count:
            self._write()
        self._writer.close()
        return self._sink.drain()

    def _columns(self, records: Sequence[AuditRecord]) -> Any:
        id_type, time_type, _ = self._schema.types
        ids = typed_column(self._pa, [record.id for record in records], id_type)
        times = typed_column(self._pa, [record.event_ns // _NS_PER_US for record in records], time_type)
        return self._pa.RecordBatch.from_arrays([ids, times, raw_column(self._pa, records)], schema=self._schema)

    def _write(self) -> None:
        """Write what waits as one row group."""
        rows = self._pa.Table.from_batches(self._waiting, self._schema)
        self._writer.write_table(rows, self._waiting_count)
        self._waiting, self._waiting_count, self._waiting_bytes = [], 0, 0


def raw_column(pyarrow: Any, records: Sequence[AuditRecord]) -> Any:
    """Return the records' own bytes as an Arrow column, copied once and not grown."""
    raws = [record.raw for record in records]
    offsets = array("i", accumulate(map(len, raws), initial=0))
    buffers = pyarrow.py_buffer(offsets), pyarrow.py_buffer(b"".join(raws))
    column = pyarrow.StringArray.from_buffers(len(raws), *buffers)
    try:
        column.validate(full=True)
    except pyarrow.ArrowInvalid:
        return typed_column(pyarrow, raws, pyarrow.string())
    return column


def typed_column(pyarrow: Any, values: Sequence[Any], kind: Any) -> Any:
    """Return an Arrow column; bytes that are no UTF-8, which JSON forbids, show a replacement character."""
    try:
        return pyarrow.array(values, kind, memory_pool=pyarrow.system_memory_pool())
    except pyarrow.ArrowInvalid:
        return pyarrow.array([readable(value) for value in values], kind)


def read_parquet(version: ApiVersion, content: bytes, column: str = "record") -> Iterator[AuditRecord]:
    """Yield the records of a part from the column that holds them."""
    pyarrow = importlib.import_module("pyarrow")
    parquet = importlib.import_module("pyarrow.parquet")
    file = parquet.ParquetFile(pyarrow.BufferReader(content))
    # A row group is too much to have as Python's own texts all at once.
    for rows in file.iter_batches(_READ_RECORDS, columns=[column]):
        yield from read_records(version, [msgspec.Raw(text.encode()) for text in rows.column(column).to_pylist()])


def _schema(pyarrow: Any) -> Any:
    return pyarrow.schema(
        [
            pyarrow.field("id", pyarrow.string(), nullable=False),
            pyarrow.field("event_time", pyarrow.timestamp("us", tz="UTC"), nullable=False),
            pyarrow.field("record", pyarrow.string(), nullable=False),
        ]
    )


class DrainedSink(io.RawIOBase):
    """A write-only file that hands its bytes on, so that a part is never whole in memory."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []
        self._size_bytes = 0

    def writable(self) -> bool:
        """Say that it is."""
        return True

    def write(self, content: Any, /) -> int:
        """Take bytes in; return how many."""
        piece = bytes(content)
        self._pieces.append(piece)
        self._size_bytes += len(piece)
        return len(piece)

    def tell(self) -> int:
        """Return how many bytes were written so far."""
        return self._size_bytes

    def drain(self) -> bytes:
        """Return what was written since the last call."""
        drained, self._pieces = b"".join(self._pieces), []
        return drained
