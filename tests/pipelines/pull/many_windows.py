"""Lands the same range twice, with one task for all of its windows and with a pull for each, and compares the two.

Invariant: what is compared is everything that a later run, `verify` and a reader see of a window; only what reading it
cost may differ, because pages are shared.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from airflow_audit_provider.adapters.cloudflare.reader import AuditLogReader
from airflow_audit_provider.core.api.read_stats import ReadStats
from airflow_audit_provider.core.archive.manifest import Manifest
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.windows.partitions import divide
from airflow_audit_provider.core.windows.run_window import RunWindow
from airflow_audit_provider.pipelines.committed import read_committed
from airflow_audit_provider.pipelines.coverage import coverage
from airflow_audit_provider.pipelines.observer import NullObserver
from airflow_audit_provider.pipelines.pull_range import RangeOutcome, RangeSpec, pull_range
from airflow_audit_provider.pipelines.pull_spec import PullSpec
from airflow_audit_provider.pipelines.verify import verify
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from tests.pipelines.pull.landing import land, objects, pull_spec, reader_of

DAY = timedelta(days=1)
FIRST = datetime(2026, 10, 19, tzinfo=UTC)


def range_spec(
    days: int = 7, version: str = "v1", partition_by: str = "day", timezone: str = "UTC", **changes: Any
) -> RangeSpec:
    """Returns the spec of a range that starts at ``start``, by default a week before the clock's month."""
    start = changes.pop("start", FIRST)
    end = changes.pop("end", start + days * DAY)
    reads_again = changes.pop("reads_again", False)
    spec = pull_spec(version, start=start, end=end, **changes)
    windows = divide(spec.run_window, partition_by, timezone)
    return RangeSpec(spec._replace(run_window=windows[0]), windows, reads_again)


def land_range(ranged: RangeSpec, reader: AuditLogReader, store: Store) -> RangeOutcome:
    """Lands a range in one go."""
    return pull_range(ranged, reader, store, NullObserver())


def land_each(ranged: RangeSpec, fake: FakeCloudflare, store: Store) -> int:
    """Lands each window of a range with a reader of its own; returns the number of requests."""
    before = len(fake.requests)
    for run_window in ranged.windows:
        land(spec_of(ranged, run_window), reader_of(fake, ManualClock()), store)
    return len(fake.requests) - before


def spec_of(ranged: RangeSpec, run_window: RunWindow) -> PullSpec:
    """Returns the spec of one window."""
    return ranged.spec_of(run_window)


def manifests(store: Store) -> list[Manifest]:
    """Returns all manifests, by key."""
    return [read_committed(store, key).manifest for key in store.list_keys("_manifests/")]


def check_same_dataset(shared: Store, alone: Store) -> None:
    """Asserts that two destinations have the same objects, except for staging, the commit log and request counts."""
    assert _comparable(shared) == _comparable(alone)
    for store in (shared, alone):
        # A killed attempt without a checkpoint stays in staging until a sweep, and is a finding of no weight.
        assert not [found for found in verify(store).findings if "_staging/" not in found.key]
    newest = max(manifest.window.end for manifest in manifests(shared))
    assert coverage(shared, newest) == coverage(alone, newest)
    found = manifests(shared)
    # An odd record may be seen more often than it is counted, also by the pull of the window before.
    has_odd = any(manifest.odd_records for manifest in found)
    for manifest in found:
        fetch = manifest.fetch
        assert fetch.ended_by, manifest.window
        if manifest.generation == 1 and not fetch.resumed_count and not has_odd:
            assert fetch.seen_count == manifest.record_count + fetch.outside_count + fetch.repeated_count


def _comparable(store: Store) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, content in objects(store).items():
        if key.startswith("_manifests/"):
            manifest = read_committed(store, key).manifest
            # The digest of the generation before covers its figures, too.
            found[key] = msgspec.structs.replace(manifest, fetch=ReadStats(), previous_sha256=None)
        elif not key.startswith(("_staging/", "_commit_log/")):
            found[key] = content
    return found
