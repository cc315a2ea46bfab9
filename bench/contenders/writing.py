"""Writers of the other contenders: gzip or zstd lines of ``json.dumps``, or a Parquet table.

Invariant: the libraries' defaults (gzip level 9, zstd level 3, snappy Parquet), one page at a time.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from bench.job import Job

Page = list[dict[str, Any]]
# Same columns as this provider's raw Parquet: id, time, and the record as JSON.
SCHEMA = pa.schema([pa.field(name, pa.string()) for name in ("id", "when", "record")])


def write_pages(job: Job, pages: Iterable[Page]) -> int:
    """Writes pages of records in the form of the job; returns the number of records."""
    return _write_parquet(job.target, pages) if job.form == "parquet" else write_lines(job, _lines_of(pages))


def write_lines(job: Job, lines: Iterable[str]) -> int:
    """Writes compressed lines, given without line ends; returns their number."""
    count = 0
    with _open_text(job.target) as file:
        for line in lines:
            file.write(line + "\n")
            count += 1
    return count


def _lines_of(pages: Iterable[Page]) -> Iterable[str]:
    for page in pages:
        yield from (json.dumps(record) for record in page)


def _open_text(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "wt", encoding="utf-8")
    return io.TextIOWrapper(zstandard.ZstdCompressor().stream_writer(path.open("wb")), encoding="utf-8")


def _write_parquet(path: Path, pages: Iterable[Page]) -> int:
    count = 0
    with pq.ParquetWriter(path, SCHEMA) as writer:
        for page in pages:
            writer.write_table(pa.Table.from_pylist([_row(record) for record in page], SCHEMA))
            count += len(page)
    return count


def _row(record: dict[str, Any]) -> dict[str, Any]:
    return {"id": record.get("id"), "when": record.get("when"), "record": json.dumps(record)}
