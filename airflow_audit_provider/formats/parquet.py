"""Parquet: row groups bounded by count and by size, sorted by event time, with statistics.

What a row is and how its columns are stored comes from the rows' layout (``tables``, ``arrow``).

Invariant: every part of one schema has the same Parquet schema, also an empty part.
"""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.formats.arrow import ParquetLayout
from airflow_audit_provider.formats.part_rows import PIECE_BYTES, PartRows
from airflow_audit_provider.formats.tables import Rows

if TYPE_CHECKING:
    import pyarrow as pa

# Size of the records' own text in a row group. Ten thousand usual raw records have less. A table's columns take some
# 50 MB while they wait; its row groups have no bound by count, because a part has at most 25,000 records.
_ROW_GROUP_BYTES = 16 << 20
_READ_RECORDS = 1000
# Without Python strings, more rows fit into memory, and fewer calls hand the interpreter's lock to other threads.
_GROUP_BYTES = 4 << 20
_MOST_ROWS = 4000
# Half of what a page may have where its size is bounded.
_PAGE_BYTES = 512 << 10


class ParquetEncoder:
    """Encodes records into one Parquet file.

    Records become columns in the call that brings them, because a thousand records fit into the processor's cache.
    The columns wait until their row group is full.
    """

    def __init__(self, compression: str, rows: Rows, page_rows: int | None = None) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        self._rows = rows
        self._layout = rows.layout
        self._sink = DrainedSink()
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_count = self._waiting_bytes = 0
        options = _writer_options(self._layout) | {"compression": compression}
        if page_rows is not None:
            # Arrow compares a page with its bound after so many rows.
            options |= {"data_page_size": _PAGE_BYTES, "write_batch_size": page_rows}
        sink = pa.PythonFile(self._sink, mode="w")
        self._writer = parquet.ParquetWriter(sink, self._layout.schema, **options)

    @property
    def type_mismatches(self) -> Mapping[str, int]:
        """The number of values of another type than their column's, by column."""
        return self._rows.type_mismatches

    def encode(self, records: Sequence[AuditRecord], lines: bytes) -> bytes:
        """Returns the bytes that are ready so far."""
        if records:
            self._waiting.append(self._rows.to_arrow(records, lines))
            self._waiting_count += len(records)
            self._waiting_bytes += len(lines)
        if self._is_row_group_full():
            self._write_row_group()
        return self._sink.drain()

    def finish(self) -> bytes:
        """Returns the last bytes of the part, its footer included."""
        self._write_row_group()
        self._writer.close()
        return self._sink.drain()

    def _is_row_group_full(self) -> bool:
        most = self._layout.group_records
        return self._waiting_bytes >= _ROW_GROUP_BYTES or (most is not None and self._waiting_count >= most)

    def _write_row_group(self) -> None:
        """Writes the waiting columns as one row group."""
        import pyarrow as pa

        if self._waiting:
            self._writer.write_table(pa.Table.from_batches(self._waiting, self._layout.schema), self._waiting_count)
        self._waiting, self._waiting_count, self._waiting_bytes = [], 0, 0


def _writer_options(layout: ParquetLayout) -> dict[str, Any]:
    """Returns the options of pyarrow's ``ParquetWriter`` for a layout."""
    import pyarrow as pa
    from pyarrow import parquet

    return {
        "use_dictionary": list(layout.dictionaries),
        "write_statistics": list(layout.statistics),
        "sorting_columns": [parquet.SortingColumn(layout.sorted_by)],
        "write_page_index": True,
        "store_schema": layout.has_arrow_schema,
        # Measured: Arrow's default pool grows by tens of megabytes, is slower here and peaks a third higher.
        "memory_pool": pa.system_memory_pool(),
    }


def read_parquet(content: bytes, column: str, id_path: str) -> Iterator[PartRows]:
    """Yields the rows of a part; ``column`` holds the records' text."""
    for texts, ids in _batches(content, column, id_path, use_threads=True):
        yield PartRows(_texts_of(texts), [one.decode() for one in _texts_of(ids)])


def read_parquet_lines(content: bytes, column: str, id_path: str) -> Iterator[tuple[bytes, int]]:
    """Yields the texts of consecutive rows, each followed by a line feed, and the number of rows."""
    from pyarrow import compute

    # Two columns are so little that handing them to threads takes longer.
    for texts, ids in _batches(content, column, id_path, most_bytes=_GROUP_BYTES, use_threads=False):
        _check_texts(texts)
        _check_texts(ids)
        ids.validate(full=True)
        # The line feeds come from Arrow, without an object for each text.
        lines: Any = compute.binary_join_element_wise(texts, "", "\n")
        _, ends, joined = lines.buffers()
        offsets = memoryview(ends).cast("i")[: len(lines) + 1]
        first = 0
        while first < len(lines):
            last = max(first + 1, bisect_right(offsets, offsets[first] + PIECE_BYTES) - 1)
            yield joined[offsets[first] : offsets[last]].to_pybytes(), last - first
            first = last


def _batches(
    content: bytes, column: str, id_path: str, *, most_bytes: int | None = None, use_threads: bool
) -> Iterator[tuple[Any, Any]]:
    """Yields the columns of texts and ids of consecutive rows, a thousand or some ``most_bytes`` of text at a time."""
    import pyarrow as pa
    from pyarrow import parquet

    file = parquet.ParquetFile(pa.BufferReader(content))
    most = _READ_RECORDS if most_bytes is None else _rows_in(file.metadata, column, most_bytes)
    group, _, name = id_path.rpartition(".")
    # A whole row group as Python strings takes too much memory.
    for rows in file.iter_batches(most, columns=[column, id_path], use_threads=use_threads):
        outer: Any = rows.column(group or name)
        yield rows.column(column), outer.field(name) if group else outer


def _rows_in(metadata: Any, column: str, most_bytes: int) -> int:
    """Returns how many rows have about so many bytes of a column, as the file states its size."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    columns = [group.column(number) for group in groups for number in range(group.num_columns)]
    size_bytes: int = sum(one.total_uncompressed_size for one in columns if one.path_in_schema == column)
    row_count: int = metadata.num_rows
    return max(1, min(_MOST_ROWS, most_bytes * row_count // max(1, size_bytes)))


def _check_texts(column: Any) -> None:
    """Raises for a column that is not of texts, and for a null."""
    import pyarrow as pa

    if column.null_count or not pa.types.is_string(column.type):
        raise ValueError(f"a column of records or ids is {column.type} with {column.null_count} nulls")


def _texts_of(column: Any) -> list[bytes]:
    """Returns the UTF-8 of each value of a column of texts; raises for another column, and for a null."""
    _check_texts(column)
    # Not by ``to_pylist``, which makes an object of pyarrow for each value and takes three times as long.
    _, ends, content = column.buffers()
    offsets = memoryview(ends).cast("i")[column.offset : column.offset + len(column) + 1]
    if not column or content is None:
        return [b""] * len(column)
    first = offsets[0]
    texts = content[first : offsets[-1]].to_pybytes()
    return [texts[start - first : end - first] for start, end in pairwise(offsets)]


class DrainedSink(io.RawIOBase):
    """A write-only file whose bytes are taken out as they come, so that a part is never whole in memory."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []
        self._size_bytes = 0

    def writable(self) -> bool:
        """Returns True."""
        return True

    def write(self, content: Any, /) -> int:
        """Takes bytes in; returns their number."""
        piece = bytes(content)
        self._pieces.append(piece)
        self._size_bytes += len(piece)
        return len(piece)

    def tell(self) -> int:
        """Returns the number of bytes written so far."""
        return self._size_bytes

    def drain(self) -> bytes:
        """Returns the bytes written since the last call."""
        drained, self._pieces = b"".join(self._pieces), []
        return drained
