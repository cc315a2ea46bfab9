"""Small committed datasets, as the pipeline writes them: a few windows and generations, and a key pair for seals.

They are small enough for tests that change every byte.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from airflow_audit_provider.core.api.query import audit_query
from airflow_audit_provider.core.api.read_stats import ReadStats
from airflow_audit_provider.core.api.records import AuditRecord, parse_event_time
from airflow_audit_provider.core.archive.dataset import dataset_of
from airflow_audit_provider.core.archive.manifest import Manifest, Part
from airflow_audit_provider.core.archive.object_keys import DATASET_KEY, WindowKeys
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.windows.window import TimeWindow, format_instant
from airflow_audit_provider.formats.part_format import PartFormat, part_format
from airflow_audit_provider.pipelines.committed import latest_committed
from airflow_audit_provider.pipelines.part_writer import PartWriter

DAY_1 = datetime(2026, 10, 26, tzinfo=UTC)
DAY = timedelta(days=1)
HALF = timedelta(hours=12)
QUERY = audit_query("v1", None, account_id="0" * 32)
PLAIN = part_format("jsonl", "none")
_PRIVATE = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
PRIVATE_PEM = _PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
PUBLIC_PEM = _PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
_OTHER = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
OTHER_PRIVATE_PEM = _OTHER.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
OTHER_PUBLIC_PEM = _OTHER.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def window(days: float = 0, length: timedelta = HALF) -> TimeWindow:
    """Returns a window that starts so many days after the first one."""
    return TimeWindow(DAY_1 + days * DAY, DAY_1 + days * DAY + length)


def record(when: datetime, record_id: str, extra: str = "") -> AuditRecord:
    """Returns a record with this event time."""
    at = format_instant(when)
    raw = msgspec.json.encode({"id": record_id, "when": at, "x": extra})
    return AuditRecord(parse_event_time(at), record_id, raw)


def records_in(of: TimeWindow, count: int, prefix: str = "r") -> list[AuditRecord]:
    """Returns evenly spaced records of a window, the first one at its start."""
    step = of.length / max(count, 1)
    return [record(of.start + number * step, f"{prefix}{number}") for number in range(count)]


def commit(
    store: Store,
    of: TimeWindow,
    records: list[AuditRecord],
    *,
    replace: bool = False,
    verified: str | None = None,
    format_: PartFormat = PLAIN,
) -> Manifest:
    """Commits records as the next generation of a window, as the pipeline does."""
    keys = WindowKeys(of, of.start.date())
    committed = latest_committed(store, keys)
    generation = 1 if committed is None else committed.manifest.generation + 1
    writer = PartWriter(store, keys.staging("t"), format_, QUERY.version, 1 << 20)
    writer.add(records)
    parts = _published(store, keys, generation, writer, format_)
    manifest = Manifest(
        query=QUERY,
        window=of,
        window_rule="explicit bounds",
        partition_date=keys.partition_date,
        file_format=format_.file_format,
        compression=format_.compression,
        table=format_.table,
        record_count=len(records),
        added_count=len(records),
        records_sha256=writer.records_sha256,
        parts=parts,
        fetch=ReadStats(),
        verified=verified,
    )
    if committed is not None:
        manifest = manifest.succeeding(committed.manifest, committed.sha256, replace=replace)
        if not replace:
            manifest = msgspec.structs.replace(manifest, added_ids=tuple(one.id for one in records))
        else:
            store.remove([part.key for part in committed.manifest.parts])
    store.create(DATASET_KEY, dataset_of(manifest).to_bytes())
    assert store.create(keys.manifest(generation), manifest.to_bytes())
    return manifest


def _published(
    store: Store, keys: WindowKeys, generation: int, writer: PartWriter, format_: PartFormat
) -> tuple[Part, ...]:
    parts: list[Part] = []
    for index, staged in enumerate(writer.finish()):
        key = keys.part(generation, index, staged.sha256, format_.extension)
        store.publish(staged.staged_key, key)
        store.remove([staged.staged_key])
        parts.append(staged.published_as(key))
    return tuple(parts)


def two_days(store: Store) -> None:
    """Commits a window with a late record, an empty one, and a replaced one on the next day."""
    commit(store, window(), records_in(window(), 3))
    commit(store, window(), [record(DAY_1 + timedelta(seconds=1), "late")])
    commit(store, window(0.5), [])
    commit(store, window(1), records_in(window(1), 1, "s"))
    commit(store, window(1), records_in(window(1), 2, "s"), replace=True)
