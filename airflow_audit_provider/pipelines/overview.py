"""Reads what the coverage page shows of a dataset: newest manifests, verifications, newest seal.

Unlike ``coverage``, it goes on after a manifest that cannot be read. It reads a bounded number of manifests that are
not in the index, because somebody waits for the page.

Invariant: it writes nothing, and every listed window is in the result, with its figures or with the reason why not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from itertools import islice

import msgspec

from airflow_audit_provider.core.archive.dataset import Dataset, dataset_of, read_dataset
from airflow_audit_provider.core.archive.manifest import Manifest
from airflow_audit_provider.core.archive.object_keys import (
    DATASET_KEY,
    MANIFEST_FOLDER,
    SEAL_FOLDER,
    newest_manifests,
    read_manifest_key,
    seal_key,
    seal_number,
    signature_key,
    timestamp_key,
)
from airflow_audit_provider.core.archive.stitching import Stitching
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.verification.manifest_index import differing
from airflow_audit_provider.core.verification.pass_records import Verified, verified_by
from airflow_audit_provider.core.windows.window import EARLIEST_AT, LATEST_AT, TimeWindow
from airflow_audit_provider.exceptions import ReadLimitExceededError, StorageError, VerificationError
from airflow_audit_provider.pipelines.committed import placed_manifest
from airflow_audit_provider.pipelines.manifest_index import IndexMemory, ManifestIndex
from airflow_audit_provider.pipelines.pass_records import read_passes
from airflow_audit_provider.pipelines.side_by_side import read_each_within_bounds
from airflow_audit_provider.pipelines.stitching import held_stitching

# Reading so many takes some seconds from S3; a seal run or `coverage --write-index` puts the others into the index.
MOST_READ = 2000


class SeenWindow(msgspec.Struct, frozen=True):
    """The newest generation of a window.

    ``problem`` is why its manifest cannot be used, empty if it can be. ``is_read`` is false if the manifest was not
    read because too many are not in the index. ``late_count`` is the number of records that later generations than the
    first added, ``request_count`` is that of the requests of the newest one. ``verified_at`` is when this generation
    last passed a verification.
    """

    window: TimeWindow
    generation: int
    is_read: bool = True
    problem: str = ""
    record_count: int = 0
    size_bytes: int = 0
    late_count: int = 0
    odd_count: int = 0
    request_count: int = 0
    is_recounted: bool = False
    is_foreign: bool = False
    verified_at: datetime | None = None


class NewestSeal(msgspec.Struct, frozen=True):
    """The seal with the greatest number, and what lies beside it. Nothing of it is verified here."""

    number: int
    seal_count: int
    is_signed: bool
    is_timestamped: bool


class Overview(msgspec.Struct, frozen=True):
    """What the store holds of a dataset. ``dataset`` is None without a readable descriptor or window.

    The root of a stitched history has no window, but ``stitching``. The folder of a version in it has ``bounds``, where
    this version has to start and end, None for the first window and now.
    """

    dataset: Dataset | None
    windows: tuple[SeenWindow, ...]
    verified: Verified
    seal: NewestSeal | None
    problems: tuple[str, ...]
    stitching: Stitching | None = None
    bounds: tuple[datetime | None, datetime | None] = (None, None)


def overview(
    store: Store,
    most_read: int = MOST_READ,
    note: Callable[[StorageError], None] | None = None,
    on_manifest: Callable[[str, bytes], None] | None = None,
    memory: IndexMemory | None = None,
    *,
    is_strict: bool = False,
) -> Overview:
    """Returns the overview of the dataset at the store's root; raises ``StorageError`` if the store does not answer.

    ``note`` gets the errors of what could be left out; the overview itself has them without the texts of libraries.
    ``on_manifest`` gets the key and the bytes of each manifest that was read, or whose copy was. ``memory`` is that of
    the copies in the index. With ``is_strict``, a copy is used only if the listing has its digest.
    """
    reader = _Reader(store, on_manifest, memory)
    try:
        found = reader.overview(most_read, is_strict=is_strict)
    finally:
        reader.close()
    if note is not None:
        for error in reader.errors:
            note(error)
    return found


def bounds_of(root: Store, version: str) -> tuple[datetime | None, datetime | None]:
    """Returns the bounds of a version in the stitched history of a root, see :class:`Overview`."""
    stitching = held_stitching(root)
    part = stitching.required(version, TimeWindow(EARLIEST_AT, LATEST_AT)) if stitching else None
    if part is None:
        return (None, None)
    return (part.start if part.start > EARLIEST_AT else None, part.end if part.end < LATEST_AT else None)


class _Reader:
    """Reads one dataset; ``problems`` collects what is wrong with it as a whole."""

    def __init__(
        self, store: Store, on_manifest: Callable[[str, bytes], None] | None, memory: IndexMemory | None
    ) -> None:
        self._store = store
        self._on_manifest = on_manifest
        self._index = ManifestIndex(store, memory=memory)
        self.close = self._index.close
        self.errors = self._index.errors
        self._dataset: Dataset | None = None
        self._problems: list[str] = []

    def overview(self, most_read: int, *, is_strict: bool) -> Overview:
        self._dataset = self._described()
        stitching = self._stitching()
        self._index.read(None, None)
        listed = {one.key: one for one in self._store.list_objects(MANIFEST_FOLDER)}
        self._index.compare(listed)
        if is_strict:
            self._index.forget_unproved(listed)
        newest = newest_manifests(listed)
        seen = {one.window: one for one in self._seen(newest, most_read)}
        usable = {window: newest[window] for window, one in seen.items() if not one.problem and not one.is_foreign}
        verified = verified_by(usable, read_passes(self._store, ""))
        passed_at = dict(zip(sorted(usable), _instants(verified), strict=True))
        return Overview(
            dataset=self._dataset,
            windows=tuple(_passed(seen[window], passed_at.get(window)) for window in sorted(seen)),
            verified=verified,
            seal=newest_seal(self._store),
            problems=(*self._problems, *(found.detail for found in self._index.findings)),
            stitching=stitching,
        )

    def _stitching(self) -> Stitching | None:
        try:
            return held_stitching(self._store)
        except (ReadLimitExceededError, VerificationError) as error:
            self._problems.append(error.message)
            return None

    def _described(self) -> Dataset | None:
        try:
            content = self._store.read(DATASET_KEY)
            return None if content is None else read_dataset(content)
        except (ReadLimitExceededError, VerificationError) as error:
            self._problems.append(error.message)
            return None

    def _seen(self, newest: Mapping[TimeWindow, str], most_read: int) -> Iterator[SeenWindow]:
        """Yields each window, newest first: from the index, then those whose manifests are read, then the others."""
        rest = []
        for window in sorted(newest, reverse=True):
            copied = self._copied(window, newest[window])
            if copied is None:
                rest.append(newest[window])
            else:
                yield copied
        for key, content in read_each_within_bounds(self._store, rest[:most_read]):
            yield self._read(key, content)
        for key in islice(rest, most_read, None):
            yield _placeholder(key)

    def _copied(self, window: TimeWindow, key: str) -> SeenWindow | None:
        """Returns a window from the index, None if its manifest has to be read."""
        content = self._index.copy(key)
        if content is None:
            return None
        try:
            copied = self._facts(window, placed_manifest(key, content))
        except VerificationError:
            # The manifest itself is read, and has the problem if it has the same bytes.
            self._index.ignore_index_of(key, differing(key))
            return None
        self._pass_on(key, content)
        return copied

    def _pass_on(self, key: str, content: bytes) -> None:
        if self._on_manifest is not None:
            self._on_manifest(key, content)

    def _read(self, key: str, content: bytes | ReadLimitExceededError | None) -> SeenWindow:
        placeholder = _placeholder(key)
        if isinstance(content, ReadLimitExceededError):
            return _with_problem(placeholder, content.message)
        if content is None:
            return _with_problem(placeholder, f"The manifest {key} was listed and is gone.")
        self._pass_on(key, content)
        try:
            return self._facts(placeholder.window, placed_manifest(key, content))
        except VerificationError as error:
            return _with_problem(placeholder, error.message)

    def _facts(self, window: TimeWindow, manifest: Manifest) -> SeenWindow:
        mine = dataset_of(manifest)
        if self._dataset is None:
            self._dataset = mine
        expected = self._dataset.as_erased(mine) if manifest.erased else self._dataset
        return SeenWindow(
            window=window,
            generation=manifest.generation,
            record_count=manifest.record_count,
            size_bytes=manifest.size_bytes,
            late_count=late_count(manifest),
            odd_count=sum((manifest.odd_records or {}).values()),
            request_count=manifest.fetch.request_count,
            is_recounted=manifest.is_recounted,
            is_foreign=mine != expected,
        )


def late_count(manifest: Manifest) -> int:
    """Returns how many records generations after the first one whose parts are kept have added."""
    if manifest.generation == 1:
        return 0
    counts: dict[int, int] = {}
    for part in manifest.parts:
        number = manifest.added_by(part) or 1
        counts[number] = counts.get(number, 0) + part.record_count
    return sum(counts.values()) - counts[min(counts)] if counts else 0


def newest_seal(store: Store) -> NewestSeal | None:
    """Returns the newest seal by the keys of the seals, None without one."""
    keys = {key for key in store.list_keys(SEAL_FOLDER) if seal_number(key) is not None}
    numbers = sorted(number for key in keys if (number := seal_number(key)) and key == seal_key(number))
    if not numbers:
        return None
    newest = numbers[-1]
    return NewestSeal(newest, len(numbers), signature_key(newest) in keys, timestamp_key(newest) in keys)


def _placeholder(key: str) -> SeenWindow:
    """Returns a window of which only the key of its newest manifest is known."""
    named = read_manifest_key(key)
    assert named is not None, "newest_manifests leaves out every other key"
    return SeenWindow(named.window, named.generation, is_read=False)


def _with_problem(seen: SeenWindow, problem: str) -> SeenWindow:
    return msgspec.structs.replace(seen, is_read=True, problem=problem)


def _passed(seen: SeenWindow, at: datetime | None) -> SeenWindow:
    return seen if at is None else msgspec.structs.replace(seen, verified_at=at)


def _instants(verified: Verified) -> Iterator[datetime | None]:
    """Yields when each window last passed; the spans are in the order of the windows."""
    for span in verified.spans:
        for _ in range(span.window_count):
            yield span.verified_at
