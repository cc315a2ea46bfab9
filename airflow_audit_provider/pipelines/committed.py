"""Reads what is committed: the newest manifest of a window, and the records of its parts.

Invariant: a part's records are used only after its bytes matched the digest in its manifest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import chain
from typing import NamedTuple

from airflow_audit_provider.core.api.odd_heads import UNDATED_KINDS
from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord, has_odd, is_undated
from airflow_audit_provider.core.archive.commit import CommittedManifest
from airflow_audit_provider.core.archive.compatibility import check_no_overlap
from airflow_audit_provider.core.archive.manifest import Manifest, Part, check_placement, read_manifest
from airflow_audit_provider.core.archive.object_keys import (
    LONG_WINDOW_FOLDER,
    MANIFEST_FOLDER,
    WindowKeys,
    announced_window,
)
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.windows.window import SECOND_NS
from airflow_audit_provider.exceptions import VerificationError
from airflow_audit_provider.formats.part_format import PartFormat, committed_format

# A group has this many records, or fewer if their text reaches this many bytes.
_GROUP_RECORDS = 2_000
_GROUP_BYTES = 4 << 20


def latest_committed(store: Store, keys: WindowKeys) -> CommittedManifest | None:
    """Returns the manifest of a window's newest generation, None if the window is not committed.

    Raises ``CommitConflictError`` if a committed window overlaps this one. The number of keys that are listed does not
    grow with the history, unless the window is longer than two months.
    """
    listed = list(store.list_neighbours(keys.neighbour_prefixes))
    check_no_overlap(keys, listed)
    newest = newest_key(keys, listed)
    if newest is None:
        check_distant(store, keys, () if keys.has_distant_neighbours else store.list_keys(LONG_WINDOW_FOLDER))
        return None
    return read_committed(store, newest)


def newest_key(keys: WindowKeys, listed: Iterable[str]) -> str | None:
    """Returns the key of the window's newest manifest among listed keys, None if the window is not committed."""
    generations = (keys.generation_of(key) for key in listed)
    newest = max((generation for generation in generations if generation is not None), default=None)
    return None if newest is None else keys.manifest(newest)


def check_distant(store: Store, keys: WindowKeys, announcements: Iterable[str]) -> None:
    """Checks the windows that the folders around a window do not show: longer ones, and those far behind its start.

    ``announcements`` are the keys of announced long windows; they are not needed for a window with distant neighbours.
    """
    if keys.has_distant_neighbours:
        check_no_overlap(keys, store.list_keys(MANIFEST_FOLDER))
        return
    announced = (announced_window(key) for key in announcements if keys.overlaps(key))
    for window in filter(None, announced):
        # An announced window may never have been committed.
        check_no_overlap(keys, store.list_keys(WindowKeys(window, window.start.date()).manifest_prefix))


def absent_objects(store: Store, expected: Mapping[str, int]) -> list[str]:
    """Returns the keys that the store does not list with the expected size in bytes."""
    sizes = sizes_of(store, expected)
    return [key for key, size_bytes in expected.items() if sizes.get(key) != size_bytes]


def sizes_of(store: Store, keys: Iterable[str]) -> dict[str, int]:
    """Returns the sizes in bytes of all objects in the folders of some keys."""
    folders = sorted({key.rpartition("/")[0] + "/" for key in keys})
    listings = store.gather([partial(_sizes_below, store, folder) for folder in folders])
    return dict(chain.from_iterable(listings))


def _sizes_below(store: Store, folder: str) -> list[tuple[str, int]]:
    return list(store.list_sizes(folder))


def read_committed(store: Store, key: str) -> CommittedManifest:
    """Returns a listed manifest; raises ``VerificationError`` if it is gone, cannot be decoded or is misplaced."""
    return committed_manifest(key, store.read(key))


def committed_manifest(key: str, content: bytes | None) -> CommittedManifest:
    """Returns the manifest with this content; raises what :func:`read_committed` does."""
    if content is None:
        raise VerificationError(f"The manifest {key} was listed and is gone. Find out what removes committed objects.")
    return CommittedManifest(placed_manifest(key, content), key, hashlib.sha256(content).hexdigest())


def placed_manifest(key: str, content: bytes) -> Manifest:
    """Returns the manifest with this content; raises ``VerificationError`` if it is unreadable or misplaced."""
    manifest = read_manifest(key, content)
    check_placement(key, manifest)
    return manifest


def read_sha256(store: Store, key: str) -> str | None:
    """Returns the SHA-256 of an object, None if it does not exist."""
    content = store.read(key)
    return None if content is None else hashlib.sha256(content).hexdigest()


class _NearbyPart(NamedTuple):
    """A committed part near the current event time: its ids, and those of them that were read again."""

    part: Part
    ids: frozenset[str]
    seen: set[str]


class CommittedRecordFilter:
    """Excludes committed records while a window is read from its start to its end.

    Only the ids of the parts around the current event time are in memory. When a part is passed, its ids that were not
    read again go to ``note_missing``. Every part is read once, also if no record was read near it; a damaged one
    raises ``VerificationError``, or with ``is_repair`` counts as empty.
    ``undated_ids`` are the ids of committed records without a time of their own: they count as committed wherever they
    are read again. ``missing_count`` is how many committed records were not read again, complete after :meth:`finish`.
    """

    def __init__(
        self,
        parts: tuple[Part, ...],
        read: Callable[[Part], Iterable[AuditRecord]],
        is_repair: bool,
        note_missing: Callable[[Iterable[str]], None],
        undated_ids: frozenset[str] = frozenset(),
    ) -> None:
        self.missing_count = 0
        self._undated_ids = undated_ids
        self._seen_undated_ids: set[str] = set()
        self._read = read
        self._is_repair = is_repair
        self._note_missing = note_missing
        self._upcoming = sorted(parts, key=lambda part: part.first_event_ns, reverse=True)
        self._nearby_parts: list[_NearbyPart] = []

    def exclude_committed(self, records: list[AuditRecord]) -> list[AuditRecord]:
        """Returns the records that are not committed; they must be sorted and later than all records before.

        A record whose event time differs from the committed one by up to a second is still the same record.
        """
        if self._undated_ids and has_odd(records):
            records = [record for record in records if not self._is_committed_undated(record)]
        if not records or not (self._upcoming or self._nearby_parts):
            return records
        from_ns = records[0].event_ns - SECOND_NS
        self._release(from_ns)
        while self._upcoming and self._upcoming[-1].first_event_ns <= records[-1].event_ns + SECOND_NS:
            self._open_next()
            # After a resume the first parts lie before all records read, so they are released without waiting.
            self._release(from_ns)
        return [record for record in records if not self._is_committed(record.id)]

    def finish(self) -> None:
        """Reads the remaining parts, near which no record was read."""
        self._release(None)
        while self._upcoming:
            self._open_next()
            self._release(None)
        self._count_missing(self._undated_ids - self._seen_undated_ids)

    def _is_committed_undated(self, record: AuditRecord) -> bool:
        is_committed = is_undated(record) and record.id in self._undated_ids
        if is_committed:
            self._seen_undated_ids.add(record.id)
        return is_committed

    def _is_committed(self, record_id: str) -> bool:
        is_committed = False
        for nearby in self._nearby_parts:
            if record_id in nearby.ids:
                nearby.seen.add(record_id)
                is_committed = True
        return is_committed

    def _release(self, before_ns: int | None) -> None:
        """Closes the parts that end before an instant, all for None, and counts their records not read again."""
        passed = [nearby for nearby in self._nearby_parts if before_ns is None or nearby.part.last_event_ns < before_ns]
        for nearby in passed:
            self._count_missing(nearby.ids - nearby.seen - self._undated_ids)
        self._nearby_parts = [nearby for nearby in self._nearby_parts if nearby not in passed]

    def _count_missing(self, ids: frozenset[str]) -> None:
        self.missing_count += len(ids)
        self._note_missing(ids)

    def _open_next(self) -> None:
        part = self._upcoming.pop()
        try:
            ids = frozenset(record.id for record in self._read(part))
        except VerificationError:
            if not self._is_repair:
                raise
            return
        self._nearby_parts.append(_NearbyPart(part, ids, set()))


def committed_record_filter(
    store: Store, commit: CommittedManifest | None, is_repair: bool, note_missing: Callable[[Iterable[str]], None]
) -> CommittedRecordFilter:
    """Returns the filter of a commit, read in its committed format; without a commit it excludes nothing."""
    if commit is None:
        return CommittedRecordFilter((), lambda _: (), is_repair, note_missing)
    manifest = commit.manifest
    part_format, version = committed_format(manifest), manifest.query.version

    def read(part: Part) -> Iterator[AuditRecord]:
        return read_part(store, part, part_format, version)

    has_undated = UNDATED_KINDS & (manifest.odd_records or {}).keys()
    undated_ids = _undated_ids(manifest.parts, read, is_repair) if has_undated else frozenset()
    return CommittedRecordFilter(manifest.parts, read, is_repair, note_missing, undated_ids)


def _undated_ids(
    parts: Iterable[Part], read: Callable[[Part], Iterable[AuditRecord]], is_repair: bool
) -> frozenset[str]:
    """Returns the ids of all undated records of parts; a damaged part raises, or with ``is_repair`` has none."""
    ids: set[str] = set()
    for part in parts:
        try:
            ids.update(record.id for record in read(part) if is_undated(record))
        except VerificationError:
            if not is_repair:
                raise
    return frozenset(ids)


def read_part(store: Store, part: Part, part_format: PartFormat, version: ApiVersion) -> Iterator[AuditRecord]:
    """Yields the records of a part; raises ``VerificationError`` if its bytes do not match the manifest's digest."""
    yield from part_format.read(version, read_part_content(store, part), part.first_event_ns)


def grouped(records: Iterable[AuditRecord]) -> Iterator[list[AuditRecord]]:
    """Yields records in groups whose number and text are bounded."""
    group: list[AuditRecord] = []
    size = 0
    for record in records:
        group.append(record)
        size += len(record.raw)
        if len(group) >= _GROUP_RECORDS or size >= _GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def read_part_content(store: Store, part: Part) -> bytes:
    """Returns the bytes of a part; raises ``VerificationError`` if they do not match the manifest's digest."""
    content = store.read(part.key)
    if content is None or hashlib.sha256(content).hexdigest() != part.sha256:
        raise VerificationError(
            f"The committed part {part.key} {'is missing' if content is None else 'differs from its manifest'}. "
            "Restore it from a copy, or run the window with replace=True while the API still keeps its records."
        )
    return content
