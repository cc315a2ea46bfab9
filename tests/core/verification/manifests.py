"""Manifests of one window: a first generation, addenda, replacements, and their stored form."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime
from typing import Any

import msgspec

from airflow_audit_provider.core.api.query import audit_query
from airflow_audit_provider.core.api.read_stats import ReadStats
from airflow_audit_provider.core.archive.manifest import Manifest, Part
from airflow_audit_provider.core.archive.object_keys import WindowKeys
from airflow_audit_provider.core.verification.manifest_chain import StoredManifest
from airflow_audit_provider.core.windows.window import TimeWindow
from tests.core.archive.manifests import manifest as archived_manifest

WINDOW = TimeWindow(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC))
KEYS = WindowKeys(WINDOW, date(2026, 11, 1))
SHA = "ab" * 32


def part(generation: int, record_count: int = 2, index: int = 0) -> Part:
    """Returns a part of the window."""
    return Part(KEYS.part(generation, index, SHA, "jsonl"), 10, SHA, record_count, WINDOW.start_ns, WINDOW.start_ns)


def manifest(**changes: Any) -> Manifest:
    """Returns the first generation, of two records, with changes."""
    first = {
        "query": audit_query("v1", None, account_id="0" * 32),
        "compression": "none",
        "records_sha256": SHA,
        "parts": (part(1),),
        "fetch": ReadStats(),
    }
    return archived_manifest(**{**first, **changes})


def addendum(before: Manifest, *ids: str, **changes: Any) -> Manifest:
    """Returns the generation that adds late records to another one."""
    number = before.generation + 1
    late = manifest(parts=(part(number, len(ids)),), record_count=len(ids), added_count=len(ids), added_ids=ids)
    return msgspec.structs.replace(late.succeeding(before, sha256(before), replace=False), **changes)


def replacement(before: Manifest, record_count: int, **changes: Any) -> Manifest:
    """Returns the generation that replaces another one."""
    anew = manifest(
        parts=(part(before.generation + 1, record_count),), record_count=record_count, added_count=record_count
    )
    return msgspec.structs.replace(anew.succeeding(before, sha256(before), replace=True), **changes)


def sha256(of: Manifest) -> str:
    """Returns the digest of a manifest's bytes."""
    return hashlib.sha256(of.to_bytes()).hexdigest()


def stored(*manifests: Manifest) -> list[StoredManifest]:
    """Returns manifests under the keys they belong to."""
    return [StoredManifest(KEYS.manifest(one.generation), one.to_bytes()) for one in manifests]
