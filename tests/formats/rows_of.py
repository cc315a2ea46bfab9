"""Reads parts of a schema as rows with other libraries than those that wrote them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord
from airflow_audit_provider.formats.part_format import part_format
from airflow_audit_provider.testing.records import Feed, generate
from tests.formats.encoded import encode
from tests.formats.odd_records import records_of

DAY = 20_000


def fake_records(version: ApiVersion, count: int) -> list[AuditRecord]:
    """Returns the fake's records of one day."""
    rows = generate(1, Feed(str(version), f"accounts/{'0' * 32}"), DAY, count, "u")
    return sorted(records_of(version, *(row.raw for row in rows)))


def json_rows(schema: str, version: ApiVersion, records: Sequence[AuditRecord]) -> list[dict[str, Any]]:
    """Returns the rows of a part in JSON Lines."""
    text = encode(part_format("jsonl", "none", schema), version, records)
    return [json.loads(line) for line in text.splitlines()]


def csv_rows(version: ApiVersion, records: Sequence[AuditRecord]) -> list[dict[str, str]]:
    """Returns the rows of a normalized part in CSV."""
    text = encode(part_format("csv", "none", "normalized"), version, records).decode()
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def parquet_table(schema: str, version: ApiVersion, records: Sequence[AuditRecord]) -> Any:
    """Returns a part in Parquet as an Arrow table."""
    return pq.read_table(pa.BufferReader(encode(part_format("parquet", None, schema), version, records)))
