"""What is committed already: the newest manifest of a window, and which records its parts hold.

Knows: the store's keys, the part format. Must not know: the API, Airflow.
Its one rule: a committed part is read only after its bytes were found to be what its manifest says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from airflow_audit_provider.core.commit import Commit
from airflow_audit_provider.core.keys import WindowKeys
from airflow_audit_provider.core.manifest import Part, read_manifest
from airflow_audit_provider.core.planning import refuse_overlap
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.records import ApiVersion, AuditRecord
from airflow_audit_provider.exceptions import VerificationError
from airflow_audit_provider.formats.part_format import PartFormat


def latest_commit(store: Store, keys: WindowKeys) -> Commit | None:
    """Return the manifest of a window's newest generation, None when the window was never committed.

    Raises ``CommitConflictError`` when the destination holds a window that overlaps this one and starts inside it, on
    its first day, or on the day before.
    """
    listed = [key for prefix in keys.neighbour_prefixes for key in store.list_keys(prefix)]
    refuse_overlap(keys, listed)
    generations = (keys.generation_of(key) for key in listed)
    newest = max((generation for generation in generations if generation is not None), default=None)
    return None if newest is None else read_commit(store, keys.manifest(newest))


def read_commit(store: Store, key: str) -> Commit:
    """Return a listed manifest; raise ``VerificationError`` when it is gone or cannot be read."""
    content = store.read(key)
    if content is None:
        raise VerificationError(f"The manifest {key} was listed and is gone. Find who removes committed objects.")
    return Commit(read_manifest(key, content), key, hashlib.sha256(content).hexdigest())


class CommittedRecords:
    """Tells which records are committed, while a window is read from its start to its end.

    Only the ids of the parts around the time reached are in memory. Every part is read once, also those around which
    nothing was read: a damaged one raises ``VerificationError``.
    """

    def __init__(self, store: Store, part_format: PartFormat, version: ApiVersion, parts: tuple[Part, ...]) -> None:
        self._store = store
        self._format = part_format
        self._version = version
        self._ahead = sorted(parts, key=lambda part: part.first_event_ns, reverse=True)
        self._around: list[tuple[Part, frozenset[str]]] = []

    def without(self, records: list[AuditRecord]) -> list[AuditRecord]:
        """Return those of some records, sorted and later than all before, that are not committed."""
        if not records or not (self._ahead or self._around):
            return records
        first_ns, last_ns = records[0].event_ns, records[-1].event_ns
        self._around = [(part, ids) for part, ids in self._around if part.last_event_ns >= first_ns]
        while self._ahead and self._ahead[-1].first_event_ns <= last_ns:
            self._take_next()
        return [record for record in records if not any(record.id in ids for _, ids in self._around)]

    def finish(self) -> None:
        """Look at the parts that no record came near."""
        while self._ahead:
            self._take_next()

    def _take_next(self) -> None:
        part = self._ahead.pop()
        ids = frozenset(record.id for record in read_part(self._store, part, self._format, self._version))
        self._around.append((part, ids))


def read_part(store: Store, part: Part, part_format: PartFormat, version: ApiVersion) -> Iterator[AuditRecord]:
    """Yield the records of a committed part; raise ``VerificationError`` when it is not what its manifest says."""
    content = store.read(part.key)
    if content is None or hashlib.sha256(content).hexdigest() != part.sha256:
        raise VerificationError(
            f"The committed part {part.key} is {'missing' if content is None else 'not what its manifest says'}. "
            "Restore it from a copy, or run the window with replace=True while the API still has its records."
        )
    yield from part_format.read(version, content)
