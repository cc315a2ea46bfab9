"""A manifest with all fields set, and its canonical bytes."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import msgspec

from airflow_audit_provider.core.api.query import audit_query
from airflow_audit_provider.core.api.read_stats import ReadStats
from airflow_audit_provider.core.archive.manifest import Manifest, Part
from airflow_audit_provider.core.windows.window import TimeWindow

GOLDEN = (
    b'{"added_count":2,"added_ids":[],"compression":"gzip","fetch":{"ended_by":{"a":2,"b":1},'
    b'"outside_count":1,"page_count":4,"repeated_count":3,"request_count":5,"resumed_count":0,'
    b'"retry_count":1,"seen_count":6,"throttled_seconds":0},"file_format":"jsonl","generation":1,'
    b'"manifest_version":1,"partition_date":"2026-11-01","parts":[{"first_event_ns":"7","key":"k1",'
    b'"last_event_ns":"9","record_count":2,"sha256":"aa","size_bytes":10}],"previous_sha256":null,'
    b'"query":{"filters":[["actor_email","z\xc3\xbc@x"]],"scope":"organization","scope_id":"o","version":"v2"},'
    b'"record_count":2,"records_sha256":"bb","verified":null,"window":{"end":"2026-11-02T00:00:00Z",'
    b'"start":"2026-11-01T00:00:00Z"},"window_rule":"data interval"}'
)


def manifest(**changes: Any) -> Manifest:
    """Returns the golden manifest with changes."""
    stats = ReadStats(5, 1, 4, 0.0, 6, 1, 3, {"b": 1, "a": 2})
    golden = Manifest(
        query=audit_query("v2", None, organization_id="o", filters={"actor_email": "zü@x"}),
        window=TimeWindow(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC)),
        window_rule="data interval",
        partition_date=date(2026, 11, 1),
        file_format="jsonl",
        compression="gzip",
        record_count=2,
        added_count=2,
        records_sha256="bb",
        parts=(Part("k1", 10, "aa", 2, 7, 9),),
        fetch=stats,
    )
    return msgspec.structs.replace(golden, **changes)
