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
# The fields one would want to filter by, and the rest as JSON, because before and after values may be anything.
SCHEMA = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in ("id", "when", "action_type", "actor_email", "actor_ip")),
        *(pa.field(name, pa.string()) for name in ("actor_type", "resource_type", "resource_id", "record")),
    ]
)


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
    action, actor, resource = (record.get(name) or {} for name in ("action", "actor", "resource"))
    return {
        "id": record.get("id"),
        "when": record.get("when"),
        "action_type": action.get("type"),
        "actor_email": actor.get("email"),
        "actor_ip": actor.get("ip"),
        "actor_type": actor.get("type"),
        "resource_type": resource.get("type"),
        "resource_id": resource.get("id"),
        "record": json.dumps(record),
    }
