"""Committed histories of any length, written directly with the project's own encoders instead of by pulls."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import msgspec

from airflow_audit_provider.core.api.query import AuditQuery, audit_query
from airflow_audit_provider.core.api.read_stats import ReadStats
from airflow_audit_provider.core.archive.dataset import dataset_of
from airflow_audit_provider.core.archive.manifest import Manifest, Part
from airflow_audit_provider.core.archive.object_keys import DATASET_KEY, WindowKeys
from airflow_audit_provider.core.windows.window import TimeWindow, format_instant, to_ns

END = datetime(2026, 11, 1, tzinfo=UTC)
QUERY = audit_query("v1", None, account_id="0" * 32)
_DAY = timedelta(days=1)


def windows(day_count: int, per_day: int = 1) -> list[TimeWindow]:
    """Returns the windows of so many days before ``END``, each day divided into ``per_day``."""
    length = _DAY / per_day
    start = END - day_count * _DAY
    return [TimeWindow(start + length * index, start + length * (index + 1)) for index in range(day_count * per_day)]


def committed(
    of: list[TimeWindow], records_per_window: int = 2, query: AuditQuery = QUERY
) -> Iterator[tuple[str, bytes]]:
    """Yields the objects of a destination with these windows committed, one part each, and its descriptor."""
    manifest = None
    for window in of:
        manifest, part, content = _window(window, records_per_window, query)
        yield part.key, content
        yield manifest.keys.manifest(1), manifest.to_bytes()
    if manifest is not None:
        yield DATASET_KEY, dataset_of(manifest).to_bytes()


def _window(window: TimeWindow, count: int, query: AuditQuery) -> tuple[Manifest, Part, bytes]:
    keys = WindowKeys(window, window.start.date())
    instants = [window.start + window.length / count * index for index in range(count)]
    lines = [_line(at) for at in instants]
    content = b"".join(lines)
    sha256 = hashlib.sha256(content).hexdigest()
    key = keys.part(1, 0, sha256, "jsonl")
    part = Part(key, len(content), sha256, count, to_ns(instants[0]), to_ns(instants[-1]))
    manifest = Manifest(
        query=query,
        window=window,
        window_rule="explicit bounds",
        partition_date=keys.partition_date,
        file_format="jsonl",
        compression="none",
        record_count=count,
        added_count=count,
        records_sha256=sha256,
        parts=(part,),
        fetch=ReadStats(),
    )
    return manifest, part, content


def _line(at: datetime) -> bytes:
    return msgspec.json.encode({"id": f"r{to_ns(at)}", "when": format_instant(at)}) + b"\n"
