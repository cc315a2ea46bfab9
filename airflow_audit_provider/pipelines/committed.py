"""What is committed already: the newest manifest of a window, and which records its parts hold.

Knows: the store's keys, the part format. Must not know: the API, Airflow.
Its one rule: a committed part is read only after its bytes were found to be what its manifest says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord
from airflow_audit_provider.core.archive.commit import CommittedManifest
from airflow_audit_provider.core.archive.compatibility import check_no_overlap
from airflow_audit_provider.core.archive.manifest import Part, read_manifest
from airflow_audit_provider.core.archive.object_keys import (
    MANIFEST_FOLDER,
    SEAL_FOLDER,
    WindowKeys,
)
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.windows.window import SECOND_NS
from airflow_audit_provider.exceptions import VerificationError
from airflow_audit_provider.formats.part_format import PartFormat, committed_format


def latest_committed(store: Store, keys: WindowKeys) -> CommittedManifest | None:
    """Return the manifest of a window's newest generation, None when the window was never committed.

    Raises ``CommitConflictError`` when the destination holds a window that overlaps this one. Before a window's first
    commit every manifest's key is looked at, later only those of the days around it.
    """
    listed = _check_neighbours(store, keys)
    generations = (keys.generation_of(key) for key in listed)
    newest = max((generation for generation in generations if generation is not None), default=None)
    if newest is None:
        check_no_overlap(keys, store.list_keys(MANIFEST_FOLDER))
        return None
    return read_committed(store, keys.manifest(newest))


def check_no_overlap_since(store: Store, keys: WindowKeys) -> None:
    """Raise ``CommitConflictError`` when a window that overlaps was committed while this one was read."""
    _check_neighbours(store, keys)


def _check_neighbours(store: Store, keys: WindowKeys) -> list[str]:
    listed = [key for prefix in keys.neighbour_prefixes for key in store.list_keys(prefix)]
    check_no_overlap(keys, listed)
    return listed


def absent_parts(store: Store, parts: Iterable[Part]) -> list[str]:
    """Return the keys of parts that do not lie in the store with their size, by its listing."""
    return absent_objects(store, {part.key: part.size_bytes for part in parts})


def absent_objects(store: Store, expected: Mapping[str, int]) -> list[str]:
    """Return the keys of those objects that do not lie in the store with their size in bytes, by its listing."""
    folders = sorted({key.rpartition("/")[0] + "/" for key in expected})
    sizes = dict(item for folder in folders for item in store.list_sizes(folder))
    return [key for key, size_bytes in expected.items() if sizes.get(key) != size_bytes]


def read_committed(store: Store, key: str) -> CommittedManifest:
    """Return a listed manifest; raise ``VerificationError`` when it is gone or cannot be read."""
    content = store.read(key)
    if content is None:
        raise VerificationError(f"The manifest {key} was listed and is gone. Find who removes committed objects.")
    return CommittedManifest(read_manifest(key, content), key, hashlib.sha256(content).hexdigest())


class _OpenPart(NamedTuple):
    """A committed part near the time reached: its ids, and those of them that were read again."""

    part: Part
    ids: frozenset[str]
    seen: set[str]


class CommittedRecordFilter:
    """Tells which records are committed, while a window is read from its start to its end.

    Only the ids of the parts around the time reached are in memory; those of a part left behind that did not come again
    go to ``note_missing``. Every part is read once, also those around which nothing was read: a damaged one raises
    ``VerificationError``, unless ``is_repair``, which takes it for unknown.
    ``missing_count`` is how many committed records did not come again, complete after :meth:`finish`.
    """

    def __init__(
        self,
        parts: tuple[Part, ...],
        read: Callable[[Part], Iterable[AuditRecord]],
        is_repair: bool,
        note_missing: Callable[[Iterable[str]], None],
    ) -> None:
        self.missing_count = 0
        self._read = read
        self._is_repair = is_repair
        self._note_missing = note_missing
        self._ahead = sorted(parts, key=lambda part: part.first_event_ns, reverse=True)
        self._around: list[_OpenPart] = []

    def exclude_committed(self, records: list[AuditRecord]) -> list[AuditRecord]:
        """Return those of some records, sorted and later than all before, that are not committed.

        A record whose time the API tells a little differently today, up to a second, is still the same record.
        """
        if not records or not (self._ahead or self._around):
            return records
        from_ns = records[0].event_ns - SECOND_NS
        self._leave_behind(from_ns)
        while self._ahead and self._ahead[-1].first_event_ns <= records[-1].event_ns + SECOND_NS:
            self._take_next()
            # Nothing came near it, as after what an earlier try has read: it is not to be held until something does.
            self._leave_behind(from_ns)
        return [record for record in records if not self._is_committed(record.id)]

    def finish(self) -> None:
        """Look at the parts that no record came near."""
        self._leave_behind(None)
        while self._ahead:
            self._take_next()
            self._leave_behind(None)

    def _is_committed(self, record_id: str) -> bool:
        is_committed = False
        for around in self._around:
            if record_id in around.ids:
                around.seen.add(record_id)
                is_committed = True
        return is_committed

    def _leave_behind(self, before_ns: int | None) -> None:
        """Let go of the parts that end before an instant, all for None, and count what of them did not come."""
        left = [around for around in self._around if before_ns is None or around.part.last_event_ns < before_ns]
        for around in left:
            missing = around.ids - around.seen
            self.missing_count += len(missing)
            self._note_missing(missing)
        self._around = [around for around in self._around if around not in left]

    def _take_next(self) -> None:
        part = self._ahead.pop()
        try:
            ids = frozenset(record.id for record in self._read(part))
        except VerificationError:
            if not self._is_repair:
                raise
            return
        self._around.append(_OpenPart(part, ids, set()))


def committed_record_filter(
    store: Store, commit: CommittedManifest | None, is_repair: bool, note_missing: Callable[[Iterable[str]], None]
) -> CommittedRecordFilter:
    """Return what a commit has, read in the format it was committed in; nothing where there is no commit."""
    if commit is None:
        return CommittedRecordFilter((), lambda _: (), is_repair, note_missing)
    said = commit.manifest
    chosen, version = committed_format(said), said.query.version
    return CommittedRecordFilter(
        said.parts, lambda part: read_part(store, part, chosen, version), is_repair, note_missing
    )


def read_part(store: Store, part: Part, part_format: PartFormat, version: ApiVersion) -> Iterator[AuditRecord]:
    """Yield the records of a committed part; raise ``VerificationError`` when it is not what its manifest says."""
    content = store.read(part.key)
    if content is None or hashlib.sha256(content).hexdigest() != part.sha256:
        raise VerificationError(
            f"The committed part {part.key} is {'missing' if content is None else 'not what its manifest says'}. "
            "Restore it from a copy, or run the window with replace=True while the API still has its records."
        )
    yield from part_format.read(version, content)


def read_seals(store: Store) -> dict[str, bytes]:
    """Returns every object below the seals' folder, by key."""
    contents = ((key, store.read(key)) for key in store.list_keys(SEAL_FOLDER))
    return {key: content for key, content in contents if content is not None}
