"""How somebody without this provider writes records: gzip or zstd lines of ``json.dumps``, or a Parquet table.

Knows: files and formats. Must not know: where records come from.
Its one rule: the libraries' own defaults (gzip level 9, zstd level 3, snappy Parquet), a page at a time.
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
# What ours has in raw Parquet, too: the id, the time and the record as JSON.
SCHEMA = pa.schema([pa.field(name, pa.string()) for name in ("id", "when", "record")])


def write_pages(job: Job, pages: Iterable[Page]) -> int:
    """Write pages of plain records in the job's form; return how many records."""
    return _write_parquet(job.target, pages) if job.form == "parquet" else write_lines(job, _lines_of(pages))


def write_lines(job: Job, lines: Iterable[str]) -> int:
    """Write lines, given without their ends, compressed; return how many."""
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
