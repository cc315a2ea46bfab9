"""Data files of a Delta table: written with their statistics, found by them, rewritten without a window's rows.

The files are written by pyarrow, so that a load knows the number of its rows before it commits; deltalake's own writer
commits in the same call.

Invariant: what is written here is visible only after a commit names it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, NamedTuple
from uuid import uuid4

from airflow_audit_provider.core.warehouse.port import KEY_COLUMNS, LoadClaim, TablePart

# Rows are collected up to this size and become one row group.
_GROUP_BYTES = 32 << 20
# A file is closed when it has this size; the engines' own writers make files of some 100 MB.
_FILE_BYTES = 96 << 20
_COMPRESSION: Literal["zstd"] = "zstd"
# Delta's protocol, "Per-file Statistics": a reader skips files by them. Loads find a window's files by the first three.
_KEY_NAMES = [column.name for column in KEY_COLUMNS]
_COLUMNS_WITH_BOUNDS = (*_KEY_NAMES, "event_time")
_MOST_ROWS = 8_192


class WrittenFile(NamedTuple):
    """A written data file: its path in the table's folder, size, number of rows and statistics as JSON."""

    path: str
    size_bytes: int
    record_count: int
    stats: str


class FoundFile(NamedTuple):
    """A data file of the table with rows of a window, perhaps only of that window."""

    path: str
    size_bytes: int
    is_of_one_window: bool


def files_in(uri: str, options: Mapping[str, str]) -> Any:
    """Returns a pyarrow file system in a table's folder, by the object store that deltalake itself uses.

    It exists for a local folder only if the folder does, so that is created.
    """
    from deltalake.fs import DeltaStorageHandler
    from pyarrow.fs import PyFileSystem

    if uri.startswith(("/", "file://")):
        Path(uri.removeprefix("file://")).mkdir(parents=True, exist_ok=True)
    return PyFileSystem(DeltaStorageHandler(uri, dict(options)))


class RowFileWriter:
    """Satisfies :class:`~airflow_audit_provider.core.warehouse.port.RowSink`: rows in data files of bounded size.

    ``files`` is a pyarrow file system in the table's folder.
    """

    def __init__(self, files: Any, prefix: str, named_errors: Callable[[], AbstractContextManager[None]]) -> None:
        self._files = files
        self._prefix = prefix
        self._named_errors = named_errors
        self._buffer: list[Any] = []
        self._buffered_bytes = 0
        self._writer: Any = None
        self._stream: Any = None
        self._path = ""
        self._footers: list[Any] = []
        self._written: list[WrittenFile] = []

    def add(self, rows: Any) -> None:
        """Buffers the rows of an Arrow table; writes a row group when the buffer is full."""
        self._buffer.append(rows)
        self._buffered_bytes += rows.nbytes
        if self._buffered_bytes >= _GROUP_BYTES:
            with self._named_errors():
                self._flush()

    def add_part(self, part: TablePart) -> None:
        """Adds the rows of a part from its Arrow tables."""
        for rows in part.tables():
            self.add(rows)

    def count(self) -> int:
        """Returns the number of rows by the footers of the data files."""
        return sum(file.record_count for file in self.close())

    def close(self) -> list[WrittenFile]:
        """Ends the last file; returns all files."""
        with self._named_errors():
            self._flush()
            self._end_file()
        return self._written

    def discard(self) -> None:
        """Deletes the files; one that cannot be deleted stays as an orphaned file, which no reader sees."""
        paths = [file.path for file in self._written]
        if self._stream is not None:
            paths.append(self._path)
        # The error that made the load fail counts.
        with suppress(Exception):
            self._stream.close()
        for path in paths:
            with suppress(Exception):
                self._files.delete_file(path)
        self._written, self._stream, self._writer, self._buffer = [], None, None, []

    def _flush(self) -> None:
        """Writes the buffered rows as one row group."""
        if not self._buffer:
            return
        import pyarrow as pa

        rows = pa.concat_tables(self._buffer)
        if self._writer is None:
            self._begin_file(rows.schema)
        self._writer.write_table(rows, row_group_size=max(rows.num_rows, 1))
        self._buffer, self._buffered_bytes = [], 0
        if self._stream.tell() >= _FILE_BYTES:
            self._end_file()

    def _begin_file(self, schema: Any) -> None:
        from pyarrow import parquet

        self._path, self._footers = f"part-{self._prefix}-{uuid4()}.parquet", []
        self._stream = self._files.open_output_stream(self._path)
        self._writer = parquet.ParquetWriter(
            self._stream, schema, compression=_COMPRESSION, metadata_collector=self._footers
        )

    def _end_file(self) -> None:
        if self._writer is None:
            return
        self._writer.close()
        size = self._stream.tell()
        self._stream.close()
        self._writer = self._stream = None
        (footer,) = self._footers
        self._written.append(WrittenFile(self._path, size, footer.num_rows, _stats(footer)))


def _stats(footer: Any) -> str:
    """Returns a file's statistics as a Delta log has them, by the statistics in its footer."""
    bounds: dict[str, tuple[Any, Any]] = {}
    for name in _COLUMNS_WITH_BOUNDS:
        found = _bounds(footer, name)
        if found is not None:
            bounds[name] = found
    minimum = {name: _as_text(lowest, is_upper=False) for name, (lowest, _) in bounds.items()}
    maximum = {name: _as_text(highest, is_upper=True) for name, (_, highest) in bounds.items()}
    facts = {"numRecords": footer.num_rows, "minValues": minimum, "maxValues": maximum}
    return json.dumps(facts | {"nullCount": dict.fromkeys(bounds, 0)}, separators=(",", ":"))


def _bounds(footer: Any, name: str) -> tuple[Any, Any] | None:
    """Returns least and greatest value of a column, None if the footer lacks them or a value is null."""
    place = footer.schema.names.index(name) if name in footer.schema.names else None
    if place is None or not footer.num_row_groups:
        return None
    columns = [footer.row_group(number).column(place).statistics for number in range(footer.num_row_groups)]
    if any(column is None or not column.has_min_max or column.null_count for column in columns):
        return None
    return min(column.min for column in columns), max(column.max for column in columns)


def _as_text(value: Any, *, is_upper: bool) -> Any:
    """Returns a bound as the log has it; instants are widened to milliseconds, which not all readers go below."""
    if not isinstance(value, datetime):
        return value
    whole = value.replace(microsecond=value.microsecond // 1000 * 1000)
    if is_upper and whole < value:
        whole += timedelta(milliseconds=1)
    return whole.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def files_with(actions: Any, claim: LoadClaim) -> list[FoundFile]:
    """Returns the files with rows of a claim's window, by the table's current files as deltalake lists them.

    A file without statistics of the key columns may have such rows.
    """
    import pyarrow as pa
    from pyarrow import compute

    listed = pa.table(actions)
    values = (claim.dataset, claim.window.start, claim.window.end)
    may_have: Any = pa.array([True] * len(listed), pa.bool_())
    is_only: Any = may_have
    for name, value in zip(_KEY_NAMES, values, strict=True):
        lowest, highest = _column(listed, f"min.{name}"), _column(listed, f"max.{name}")
        if lowest is None or highest is None:
            is_only = pa.array([False] * len(listed), pa.bool_())
            continue
        wanted = pa.scalar(value, lowest.type)
        inside = compute.and_(compute.less_equal(lowest, wanted), compute.greater_equal(highest, wanted))
        may_have = compute.and_(may_have, compute.fill_null(inside, pa.scalar(value=True)))
        is_only = compute.and_(is_only, compute.fill_null(compute.equal(lowest, highest), pa.scalar(value=False)))
    found = pa.table({"path": listed["path"], "size": listed["size_bytes"], "is_only": is_only}).filter(may_have)
    return [FoundFile(row["path"], row["size"], row["is_only"]) for row in found.to_pylist()]


def _column(listed: Any, name: str) -> Any:
    return listed[name] if name in listed.column_names else None


def add_other_rows(writer: RowFileWriter, files: Any, schema: Any, found: FoundFile, claim: LoadClaim) -> None:
    """Adds the rows of a file that are not of a claim's window; ``schema`` is the table's as Arrow.

    Another engine has merged the rows of several windows into this file.
    """
    import pyarrow as pa

    for rows in _other_rows(files, found.path, schema, claim):
        if rows.num_rows:
            writer.add(pa.Table.from_batches([rows]))
    # Files can differ in their columns, and a data file has one schema.
    writer.close()


def _other_rows(files: Any, path: str, schema: Any, claim: LoadClaim) -> Iterator[Any]:
    """Yields the rows of a file that are not of a claim's window, with the types of the table's columns."""
    import pyarrow as pa
    from pyarrow import compute, parquet

    with files.open_input_file(path) as stream:
        opened = parquet.ParquetFile(stream, coerce_int96_timestamp_unit="us")
        known = pa.schema([field for field in schema if field.name in opened.schema_arrow.names])
        for found in opened.iter_batches(_MOST_ROWS, columns=known.names, use_threads=False):
            columns = [found.column(field.name).cast(field.type) for field in known]
            rows = pa.RecordBatch.from_arrays(columns, schema=known)
            is_of_window: Any = pa.array([True] * rows.num_rows, pa.bool_())
            for name, value in zip(_KEY_NAMES, (claim.dataset, claim.window.start, claim.window.end), strict=True):
                equal: Any = compute.equal(rows.column(name), pa.scalar(value, known.field(name).type))
                is_equal: Any = compute.fill_null(equal, pa.scalar(value=False))
                is_of_window = compute.and_(is_of_window, is_equal)
            yield rows.filter(compute.invert(is_of_window))
