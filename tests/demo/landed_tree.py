"""Writes a small landed destination by hand, for tests of code that reads one.

Invariant: what it writes is consistent; a test damages it itself.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

DAY = "2026-11-09"
NEXT_DAY = "2026-11-10"


def record(number: int, *, result: bool = True) -> bytes:
    """Returns a raw record of version 1."""
    body = {
        "id": f"id-{number:03}",
        "when": f"{DAY}T00:00:{number:02}Z",
        "action": {"type": "rec_add", "result": result},
        "actor": {"email": f"user{number % 2}@example.com", "type": "user"},
        "resource": {"type": "DNS_record"},
    }
    return json.dumps(body).encode()


def land(root: Path, file_format: str, lines: Sequence[bytes], *, day: str = DAY, generation: int = 1) -> Path:
    """Writes one window with one part and its manifest; returns the part's path."""
    content = _parquet(lines) if file_format == "parquet" else gzip.compress(b"".join(x + b"\n" for x in lines))
    key = f"dt={day}/window=w/part-{generation}.{'parquet' if file_format == 'parquet' else 'jsonl.gz'}"
    path = root / file_format / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    manifest = {
        "window": {"start": f"{day}T00:00:00Z", "end": f"{NEXT_DAY}T00:00:00Z"},
        "generation": generation,
        "record_count": len(lines),
        "records_sha256": hashlib.sha256(b"".join(line + b"\n" for line in lines)).hexdigest(),
        "parts": [{"key": key, "sha256": digest, "record_count": len(lines), "size_bytes": len(content)}],
    }
    manifest_path = root / file_format / "_manifests" / f"dt={day}" / f"w.g{generation:04}.json"
    manifest_path.parent.mkdir(parents=True, exist_ok=True)
    manifest_path.write_text(json.dumps(manifest))
    return path


def _parquet(lines: Sequence[bytes]) -> bytes:
    records = [json.loads(line) for line in lines]
    sink = io.BytesIO()
    table = pa.table(
        {
            "id": [each["id"] for each in records],
            "action_type": [each["action"]["type"] for each in records],
            "action_succeeded": [each["action"]["result"] for each in records],
            "resource_type": [each["resource"]["type"] for each in records],
            "raw": [line.decode() for line in lines],
        }
    )
    pq.write_table(table, sink)
    return sink.getvalue()
