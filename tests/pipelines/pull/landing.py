"""Landing windows in tests: an order in one line, and what lies in a store afterwards.

Invariant: what counts as landed is what the newest manifest names, read back from its parts.
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

START = datetime(2026, 10, 26, tzinfo=UTC)
END = datetime(2026, 10, 27, tzinfo=UTC)


def fake_with(clock: ManualClock, *specs: str, **settings: Any) -> FakeCloudflare:
    """Return a fake of 1200 records a day that misbehaves as the specs say."""
    chosen = Settings(**{"records_per_day": 1200, "even_days": True, **settings})
    return FakeCloudflare(clock.now, chosen, [parse_switch(spec) for spec in specs])


def order(version: str = "v1", **changes: Any) -> PullSpec:
    """Return an order for the usual day; ``start``, ``end``, ``file_format``, ``compression``, ``schema`` as wished."""
    window = TimeWindow(changes.pop("start", START), changes.pop("end", END))
    file_format, compression = changes.pop("file_format", "jsonl"), changes.pop("compression", "none")
    chosen = part_format(file_format, compression, changes.pop("schema", "raw"))
    filters = changes.pop("filters", None)
    plain = PullSpec(
        query=audit_query(version, None, account_id=ACCOUNT_ID, filters=filters),
        run_window=RunWindow(window, "explicit bounds", window.start.date()),
        part_format=chosen,
        attempt_id="one",
        max_part_bytes=1 << 20,
    )
    return plain._replace(**changes)


def keys_of(wanted: PullSpec) -> WindowKeys:
    """Return the object keys of an order's window."""
    return WindowKeys(wanted.run_window.window, wanted.run_window.partition_date)


def source_of(fake: FakeCloudflare, clock: ManualClock, transport: Transport | None = None) -> AuditLogReader:
    """Return a source that asks the fake directly, with a budget of its own."""
    return AuditLogReader(transport or DirectTransport(fake, clock), clock, RateLimiter(), RetryLimits())


def land(wanted: PullSpec, source: AuditLogReader, store: Store) -> PullOutcome:
    """Pull, and let nobody watch."""
    return pull_window(wanted, source, store, NullObserver())


def visible_keys(store: Store) -> list[str]:
    """Return every key outside of staging."""
    return [key for key in store.list_keys("") if not key.startswith("_staging/")]


def staged_keys(store: Store) -> list[str]:
    """Return every key in staging."""
    return list(store.list_keys("_staging/"))


def objects(store: Store) -> dict[str, bytes]:
    """Return everything that lies in a store."""
    return {key: store.read(key) or b"" for key in store.list_keys("")}


def landed(wanted: PullSpec, store: Store) -> list[AuditRecord]:
    """Return the records that the newest manifest names, in the order of its parts."""
    commit = latest_committed(store, keys_of(wanted))
    return [] if commit is None else list(records_of(commit.manifest, wanted, store))


def records_of(manifest: Manifest, wanted: PullSpec, store: Store) -> Iterator[AuditRecord]:
    """Yield the records of a manifest's parts; a part that is missing or has other bytes is an error."""
    for part in manifest.parts:
        content = store.read(part.key)
        assert content is not None, f"{part.key} is named and missing"
        assert (len(content), hashlib.sha256(content).hexdigest()) == (part.size_bytes, part.sha256)
        records = list(wanted.part_format.read(wanted.query.version, content))
        assert len(records) == part.record_count
        yield from records


def landed_ids(wanted: PullSpec, store: Store) -> list[str]:
    """Return the ids that landed, sorted, so that repeats show."""
    return sorted(record.id for record in landed(wanted, store))


def true_ids(fake: FakeCloudflare, version: str = "v1", start: datetime = START, end: datetime = END) -> list[str]:
    """Return the ids there are, sorted."""
    return sorted(row.id for row in fake.truth(version, None, start, end))


def record_at(when: str, record_id: str, version: str = "v1", action: str = "late") -> bytes:
    """Return a record of an instant and an action, with a field nobody knows."""
    if version == "v2":
        return msgspec.json.encode({"id": record_id, "action": {"time": when, "type": action}, "x_new": [1, None]})
    return msgspec.json.encode({"id": record_id, "when": when, "action": {"type": action}, "x_new": [1, None]})
