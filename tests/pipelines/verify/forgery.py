"""Forgeries by somebody who can write to the store, but has neither the signing key nor the digest that was kept.

Every manifest they write is consistent with the dataset: its counts, its digests and the generation before it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import msgspec
import rfc8785

from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.core.archive.manifest import Erasure, Manifest
from airflow_audit_provider.core.archive.object_keys import WindowKeys
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.formats.part_format import committed_format
from airflow_audit_provider.pipelines.committed import latest_committed, read_part
from tests.pipelines.verify.dataset import commit

Alter = Callable[[list[AuditRecord]], list[AuditRecord]]


def alter_one(records: list[AuditRecord]) -> list[AuditRecord]:
    """Returns the records with another content of the first one: the same id, time and number of records."""
    first, *others = records
    return [AuditRecord(first.event_ns, first.id, first.raw.replace(b'"x":""', b'"x":"!"')), *others]


def newest(store: Store, of: TimeWindow) -> Manifest:
    """Returns the manifest in force of a window."""
    committed = latest_committed(store, WindowKeys(of, of.start.date()))
    assert committed is not None
    return committed.manifest


def committed_records(store: Store, of: TimeWindow) -> list[AuditRecord]:
    """Returns the records of a window as its newest manifest names them."""
    manifest = newest(store, of)
    form = committed_format(manifest)
    return [record for part in manifest.parts for record in read_part(store, part, form, manifest.query.version)]


def forge_replacement(store: Store, of: TimeWindow, alter: Alter = alter_one, *, keep_old: bool = False) -> str:
    """Writes a replacing generation with altered records, deletes the parts before; returns the manifest's key."""
    old = {part.key: store.read(part.key) or b"" for part in newest(store, of).parts}
    forged = commit(store, of, alter(committed_records(store, of)), replace=True)
    if keep_old:
        for key, content in old.items():
            store.create(key, content)
    return WindowKeys(of, of.start.date()).manifest(forged.generation)


def forge_erasure(store: Store, of: TimeWindow) -> tuple[str, set[str]]:
    """Writes a generation that lists every part before as erased, and leaves them; returns its key and theirs."""
    before = newest(store, of).parts
    key = forge_replacement(store, of, keep_old=True)
    forged = msgspec.structs.replace(newest(store, of), erased=Erasure("none", before))
    store.remove([key])
    store.create(key, forged.to_bytes())
    return key, {part.key for part in before}


def forge_first_generation(store: Store, of: TimeWindow) -> str:
    """Deletes a window with all its generations and writes it anew as if it had been landed once, altered."""
    keys = WindowKeys(of, of.start.date())
    altered = alter_one(committed_records(store, of))
    mine = [key for key in store.list_keys(keys.manifest_prefix) if keys.generation_of(key)]
    store.remove([*mine, *store.list_keys(keys.partition)])
    commit(store, of, altered)
    return keys.manifest(1)


def forge_seal(store: Store, like: str, key: str, **changes: object) -> None:
    """Writes an unsigned seal after ``like``, the newest, that names one more manifest and follows in the chain."""
    before = store.read(like) or b""
    content = store.read(key) or b""
    seal = msgspec.json.decode(before)
    number = int(like.removeprefix("_seals/").removesuffix(".json")) + 1
    count = msgspec.json.decode(content)["record_count"]
    named = {"key": key, "sha256": hashlib.sha256(content).hexdigest(), "record_count": count}
    manifests = sorted([*seal["manifests"], named], key=lambda one: str(one["key"]))
    seal |= {"number": number, "manifests": manifests, "previous_sha256": hashlib.sha256(before).hexdigest(), **changes}
    forged = rfc8785.dumps(seal)
    assert store.create(f"_seals/{number:06}.json", forged)
