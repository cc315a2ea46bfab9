"""Pulls windows in tests with one line each, and reads back what a store contains afterwards.

Invariant: a record has landed if the newest manifest names its part; it is read back from there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from airflow_audit_provider.adapters.cloudflare.reader import AuditLogReader
from airflow_audit_provider.core.api.query import audit_query
from airflow_audit_provider.core.api.rate_limiter import RateLimiter
from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.core.api.retry import RetryLimits
from airflow_audit_provider.core.archive.manifest import Manifest
from airflow_audit_provider.core.archive.object_keys import WindowKeys
from airflow_audit_provider.core.archive.security_lake import SecurityLake
from airflow_audit_provider.core.ports import Store, Transport
from airflow_audit_provider.core.windows.run_window import RunWindow
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.formats.part_format import part_format
from airflow_audit_provider.pipelines.committed import latest_committed
from airflow_audit_provider.pipelines.observer import NullObserver, PullOutcome
from airflow_audit_provider.pipelines.pull import pull_window
from airflow_audit_provider.pipelines.pull_spec import PullSpec
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.in_process import DirectTransport
from airflow_audit_provider.testing.misbehaviour import parse_switch
from airflow_audit_provider.testing.settings import ACCOUNT_ID, Settings

LAKE = SecurityLake("s3://lake", "cf_audit_{class_uid}", "eu-central-1", f"external_{ACCOUNT_ID}", "v1-01234567")
IN_LAKE: dict[str, Any] = {"lake": LAKE, "file_format": "parquet", "compression": "zstd", "schema": "ocsf-1.3"}
START = datetime(2026, 10, 26, tzinfo=UTC)
END = datetime(2026, 10, 27, tzinfo=UTC)


def fake_with(clock: ManualClock, *switches: str, **settings: Any) -> FakeCloudflare:
    """Returns a fake of 1200 records a day with these misbehaviours."""
    settings_ = Settings(**{"records_per_day": 1200, "even_days": True, **settings})
    return FakeCloudflare(clock.now, settings_, [parse_switch(switch) for switch in switches])


def pull_spec(version: str = "v1", **changes: Any) -> PullSpec:
    """Returns a spec for the usual day; changes may be fields, or start, end, filters, format, compression, schema."""
    window = TimeWindow(changes.pop("start", START), changes.pop("end", END))
    file_format, compression = changes.pop("file_format", "jsonl"), changes.pop("compression", "none")
    format_ = part_format(file_format, compression, changes.pop("schema", "raw"))
    filters = changes.pop("filters", None)
    spec = PullSpec(
        query=audit_query(version, None, account_id=ACCOUNT_ID, filters=filters),
        run_window=RunWindow(window, "explicit bounds", window.start.date()),
        part_format=format_,
        attempt_id="one",
        max_part_bytes=1 << 20,
    )
    return spec._replace(**changes)


def keys_of(spec: PullSpec) -> WindowKeys:
    """Returns the object keys of a spec's window."""
    return WindowKeys(spec.run_window.window, spec.run_window.partition_date)


def reader_of(fake: FakeCloudflare, clock: ManualClock, transport: Transport | None = None) -> AuditLogReader:
    """Returns a reader that calls the fake directly and has its own rate limiter."""
    return AuditLogReader(transport or DirectTransport(fake, clock), clock, RateLimiter(), RetryLimits())


def land(spec: PullSpec, reader: AuditLogReader, store: Store) -> PullOutcome:
    """Pulls without an observer."""
    return pull_window(spec, reader, store, NullObserver())


def visible_keys(store: Store) -> list[str]:
    """Returns every key outside of staging and of the commit log, where no reader of records looks."""
    return [key for key in store.list_keys("") if not key.startswith(("_staging/", "_commit_log/"))]


def logged_keys(store: Store) -> list[str]:
    """Returns every key of the commit log."""
    return list(store.list_keys("_commit_log/"))


def staged_keys(store: Store) -> list[str]:
    """Returns every key in staging."""
    return list(store.list_keys("_staging/"))


def objects(store: Store) -> dict[str, bytes]:
    """Returns every object of a store by its key."""
    return {key: store.read(key) or b"" for key in store.list_keys("")}


def landed(spec: PullSpec, store: Store) -> list[AuditRecord]:
    """Returns the records that the newest manifest names, in the order of its parts."""
    commit = latest_committed(store, keys_of(spec))
    return [] if commit is None else list(records_of(commit.manifest, spec, store))


def records_of(manifest: Manifest, spec: PullSpec, store: Store) -> Iterator[AuditRecord]:
    """Yields the records of a manifest's parts; fails if a part is missing or differs from the manifest."""
    for part in manifest.parts:
        content = store.read(part.key)
        assert content is not None, f"{part.key} is named and missing"
        assert (len(content), hashlib.sha256(content).hexdigest()) == (part.size_bytes, part.sha256)
        records = list(spec.part_format.read(spec.query.version, content))
        assert len(records) == part.record_count
        yield from records


def landed_ids(spec: PullSpec, store: Store) -> list[str]:
    """Returns the ids that landed, sorted, with duplicates."""
    return sorted(record.id for record in landed(spec, store))


def true_ids(fake: FakeCloudflare, version: str = "v1", start: datetime = START, end: datetime = END) -> list[str]:
    """Returns the ids of the fake's records in a window, sorted."""
    return sorted(row.id for row in fake.truth(version, None, start, end))


def record_at(when: str, record_id: str, version: str = "v1", action: str = "late") -> bytes:
    """Returns a record with this event time and action, and a field that is not documented."""
    if version == "v2":
        return msgspec.json.encode({"id": record_id, "action": {"time": when, "type": action}, "x_new": [1, None]})
    return msgspec.json.encode({"id": record_id, "when": when, "action": {"type": action}, "x_new": [1, None]})
