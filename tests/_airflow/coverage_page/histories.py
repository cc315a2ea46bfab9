"""A history with every state that the page shows, around the present day."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import msgspec

from airflow_audit_provider.core.api.query import AuditQuery
from airflow_audit_provider.core.api.read_stats import ReadStats
from airflow_audit_provider.core.archive.manifest import Manifest, read_manifest
from airflow_audit_provider.core.archive.object_keys import WindowKeys, newest_manifests
from airflow_audit_provider.core.archive.stitching import STITCHING_KEY, stitching_of
from airflow_audit_provider.core.verification.pass_records import pass_record
from airflow_audit_provider.core.windows.window import TimeWindow
from tests.pipelines.history.generated import QUERY, committed

DAY = timedelta(days=1)
HOSTILE = "<img src=x onerror=alert(1)>\u202e<script>alert(2)</script>{{ 7*7 }}\"'&"


def today() -> datetime:
    """Returns the start of the present UTC day."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def day_windows(first_ago: int, count: int) -> list[TimeWindow]:
    """Returns so many whole days, the first one so many days ago."""
    start = today() - first_ago * DAY
    return [TimeWindow(start + number * DAY, start + (number + 1) * DAY) for number in range(count)]


def busy(first_ago: int, count: int, query: AuditQuery = QUERY) -> dict[str, bytes]:
    """Returns the objects of committed days with different numbers of records."""
    objects: dict[str, bytes] = {}
    for number, window in enumerate(day_windows(first_ago, count)):
        objects |= dict(committed([window], 1 + number * 7 % 11, query))
    return objects


def every_state(query: AuditQuery = QUERY) -> dict[str, bytes]:
    """Returns a history with each state: the newest days are the interesting ones.

    Before today: 2 and 3 committed and not verified, 4 missing, 5 empty, 6 late, 7 damaged, 8 of another dataset, the
    days before committed and verified; gaps of 20 to 22 and 100 days, and one older than the retention.
    """
    objects = busy(600, 10, query) | busy(500, 499, query)
    for ago in (4, 20, 21, 22, 100):
        del objects[_key(ago)]
    old = [key for key in newest_manifests(objects).values() if key < _key(8)]
    record = pass_record(today() - DAY, old, 1, None)
    objects[record.key] = record.to_bytes()
    objects[_key(5)] = _changed(objects, 5, record_count=0, added_count=0, parts=()).to_bytes()
    objects[_key(8)] = _changed(objects, 8, file_format="csv").to_bytes()
    objects[_key(7)] = b'{"manifest_version": 1, "window": "<script>alert(1)</script>"}'
    late = _late(objects, 6)
    objects[late.keys.manifest(2)] = late.to_bytes()
    return objects


def stitched() -> dict[str, bytes]:
    """Returns a stitched history: version 1 ends six days ago, version 2 begins eight days ago and lacks a day."""
    stitching = stitching_of("0123456789abcdef0123456789abcdef", (), today() - 8 * DAY, 2 * DAY)
    objects = {STITCHING_KEY: stitching.to_bytes()}
    for version, days in (("v1", busy(20, 14)), ("v2", busy(7, 7))):
        objects |= {f"{version}/{key}": content for key, content in days.items()}
    return objects


def hostile() -> dict[str, bytes]:
    """Returns a history with HTML, scripts and marks that turn text around in each text of a manifest."""
    objects = {}
    for key, content in busy(5, 4).items():
        if not key.startswith("_manifests/"):
            continue
        manifest = read_manifest(key, content)
        query = msgspec.structs.replace(manifest.query, filters=(("actor.email", HOSTILE),), scope_id=HOSTILE)
        fetch = msgspec.structs.replace(manifest.fetch, ended_by={HOSTILE: 1})
        changed = msgspec.structs.replace(
            manifest,
            query=query,
            window_rule=HOSTILE,
            added_ids=(HOSTILE,),
            odd_records={HOSTILE: 3},
            verified=HOSTILE,
            compression=HOSTILE,
            fetch=fetch,
        )
        objects[key] = changed.to_bytes()
    return objects


def damaged(count: int) -> dict[str, bytes]:
    """Returns hourly windows of which no manifest can be read."""
    start = today() - 500 * DAY
    hour = timedelta(hours=1)
    windows = [TimeWindow(start + number * hour, start + (number + 1) * hour) for number in range(count)]
    return {WindowKeys(one, one.start.date()).manifest(1): b"{" for one in windows}


def _key(ago: int) -> str:
    (window,) = day_windows(ago, 1)
    return WindowKeys(window, window.start.date()).manifest(1)


def _changed(objects: dict[str, bytes], ago: int, **changes: object) -> Manifest:
    return msgspec.structs.replace(read_manifest(_key(ago), objects[_key(ago)]), **changes)


def _late(objects: dict[str, bytes], ago: int) -> Manifest:
    """Returns the second generation of a day, with one late record in a part of its own."""
    first = read_manifest(_key(ago), objects[_key(ago)])
    sha256 = "ab" * 32
    part = msgspec.structs.replace(
        first.parts[0], key=first.keys.part(2, 0, sha256, "jsonl"), sha256=sha256, record_count=1
    )
    added = msgspec.structs.replace(
        first,
        parts=(part,),
        record_count=1,
        added_count=1,
        added_ids=("late-1",),
        window_rule="lookback",
        fetch=ReadStats(2, 0, 2, 0.0, first.record_count + 1, 0, 0, {"empty_page": 1}),
    )
    return added.succeeding(first, hashlib.sha256(objects[_key(ago)]).hexdigest(), replace=False)
