"""Writes and reads the records of verifications that passed; see ``core/verification/pass_records``.

Invariant: a record is created once and never overwritten or removed.
"""

from __future__ import annotations

from collections.abc import Iterator

from airflow_audit_provider.core.archive.object_keys import VERIFIED_FOLDER, is_pass_record_key
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.verification.pass_records import PassRecord, read_pass_record
from airflow_audit_provider.pipelines.side_by_side import read_each_within_bounds

# Bounds the requests of `coverage`. If each night verifies only its day, these are the days of more than two years.
MAX_READ_COUNT = 1000


def record_pass(store: Store, record: PassRecord) -> str:
    """Writes the record of a verification that passed; returns its key.

    Raises ``StorageError`` if the destination is not writable: the verification itself needs no write permission.
    """
    store.create(record.key, record.to_bytes())
    return record.key


def read_passes(store: Store, folder: str) -> Iterator[PassRecord | None]:
    """Yields the newest records of the dataset in a folder, newest first; None for one that is damaged.

    ``folder`` is empty for the root of the store, otherwise it has a slash at its end.
    """
    keys = [key.removeprefix(folder) for key in store.list_keys(folder + VERIFIED_FOLDER)]
    newest = sorted(filter(is_pass_record_key, keys), reverse=True)[:MAX_READ_COUNT]
    # One, then two, then four: side by side, but at most twice as many as the caller takes.
    start, count = 0, 1
    while start < len(newest):
        some = newest[start : start + count]
        for key, (_, content) in zip(some, read_each_within_bounds(store, [folder + key for key in some]), strict=True):
            yield read_pass_record(key, content if isinstance(content, bytes) else b"")
        start, count = start + count, 2 * count
