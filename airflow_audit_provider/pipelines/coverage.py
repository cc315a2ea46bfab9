"""Reports what each dataset below a root covers: committed, empty, foreign, missing and pending spans of time.

Invariant: it reads the descriptor, the newest manifest of each window in the range or its copy in the index, and the
records of verifications. It writes nothing but the index, if the caller asks for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from airflow_audit_provider.core.api.endpoints import VERSIONS
from airflow_audit_provider.core.archive.dataset import Dataset, dataset_of, of_version, read_dataset
from airflow_audit_provider.core.archive.manifest import Manifest
from airflow_audit_provider.core.archive.object_keys import DATASET_KEY, MANIFEST_FOLDER, newest_manifests
from airflow_audit_provider.core.archive.stitching import Stitching, stream_folder
from airflow_audit_provider.core.limits import DEFAULT_SETTLE_DELAY, check_settle_delay
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.verification.coverage import (
    RECENT_COUNT,
    Coverage,
    WindowFacts,
    coverage_of,
    due_until,
    facts_of,
)
from airflow_audit_provider.core.verification.findings import Finding
from airflow_audit_provider.core.verification.lateness import Lateness
from airflow_audit_provider.core.verification.manifest_index import differing
from airflow_audit_provider.core.verification.pass_records import Verified, verified_by
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import VerificationError
from airflow_audit_provider.pipelines.committed import committed_manifest, placed_manifest, read_committed
from airflow_audit_provider.pipelines.manifest_index import ManifestIndex
from airflow_audit_provider.pipelines.neighbourhood import dataset_folders, is_near, list_around, newest_windows
from airflow_audit_provider.pipelines.pass_records import read_passes
from airflow_audit_provider.pipelines.side_by_side import read_each
from airflow_audit_provider.pipelines.stitching import held_stitching

_TICK = timedelta(microseconds=1)


class DatasetCoverage(msgspec.Struct, frozen=True):
    """Coverage of one dataset.

    ``folder`` is the dataset's place below the root, empty for the root itself, otherwise with a slash at its end.
    Without a descriptor (``has_descriptor``), ``dataset`` is that of the newest window. ``verified`` is what the
    records of verifications state. ``findings`` are about the index of manifests, and mild.
    """

    folder: str
    dataset: Dataset
    has_descriptor: bool
    coverage: Coverage
    verified: Verified
    findings: tuple[Finding, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing: no span that is due, and not the descriptor; and no window is foreign."""
        return self.has_descriptor and self.coverage.is_complete


class PublishedCoverage(msgspec.Struct, frozen=True):
    """Coverage as ``coverage --json`` prints it; docs/reference/coverage.schema.json is its schema.

    ``datasets`` are sorted by folder. ``stitched`` is the descriptor of a stitched history; any other destination has
    none. ``lateness`` is how late the records of each folder came, if it was asked for.
    """

    datasets: tuple[DatasetCoverage, ...]
    stitched: Stitching | UnsetType = UNSET
    lateness: dict[str, Lateness] | UnsetType = UNSET


def published_coverage(
    found: tuple[DatasetCoverage, ...], stitching: Stitching | None, lateness: dict[str, Lateness] | None = None
) -> PublishedCoverage:
    """Returns coverage as it is published."""
    return PublishedCoverage(found, UNSET if stitching is None else stitching, UNSET if lateness is None else lateness)


def coverage(
    store: Store,
    now: datetime,
    start: datetime | None = None,
    end: datetime | None = None,
    settle_delay: timedelta = DEFAULT_SETTLE_DELAY,
    *,
    write_index: bool = False,
) -> tuple[DatasetCoverage, ...]:
    """Returns the coverage of ``[start, end)`` by each dataset at the store's root or below it, sorted by folder.

    A bound that is None is the start of the dataset's first, or the end of its last window. Instants after ``now`` less
    the settle delay, and a window that is not over, are pending. A folder without a committed window is no dataset.
    Of a stitched history, each version has to cover what the descriptor requires of it, also if it has no window.
    ``write_index`` adds the manifests that were read themselves to the index of manifests; a store that refuses it is a
    finding. Raises ``VerificationError`` for a manifest or descriptor that cannot be read.
    """
    check_settle_delay(settle_delay)
    asked = TimeWindow(start, end) if start is not None and end is not None else None
    folders = dataset_folders(store)
    histories = _stitched_histories(store, folders)
    found, listed = [], {}
    for folder in sorted(folders.keys() | {f"{root}{stream_folder(name)}" for root in histories for name in VERSIONS}):
        part = _required(histories, folder, asked)
        if asked is None or part is not None:
            listed[folder] = _listed(store, folder, part, has_index=folders.get(folder, False), bounds=(start, end))
    for folder, one in listed.items():
        ranged = _range_of(histories, listed, folder, start, end)
        if ranged is not None:
            due_at = now - settle_delay if one.is_followed else due_until(ranged.known, now, settle_delay)
            dataset = _DatasetReader(store, folder, one.manifest_index, keeps_read=write_index)
            found.append(dataset.coverage(one.windows, ranged.time_range, due_at, like=ranged.like))
    return tuple(found)


class _Listed(NamedTuple):
    """The windows of a folder with the keys of their newest manifests, and the index that was compared with them."""

    manifest_index: ManifestIndex
    windows: dict[TimeWindow, str]
    is_followed: bool


class _Range(NamedTuple):
    """The range that a dataset has to cover, the windows that show what is due, and the folder of a sibling.

    Of a version of a stitched history that has no window, the other version shows what is due and what the dataset is.
    """

    time_range: TimeWindow
    known: Iterable[TimeWindow]
    like: str


def _listed(
    store: Store,
    folder: str,
    asked: TimeWindow | None,
    *,
    has_index: bool,
    bounds: tuple[datetime | None, datetime | None],
) -> _Listed:
    index = ManifestIndex(store, folder)
    if has_index and (asked is None or not is_near(asked)):
        index.read(*bounds)
    return _Listed(index, *_windows(store, folder, asked, index if has_index else None))


def _stitched_histories(store: Store, folders: Iterable[str]) -> dict[str, Stitching]:
    """Returns the roots of stitched histories, by their folder, of which a version has windows."""
    ends = tuple(stream_folder(version) for version in VERSIONS)
    roots = sorted({root for folder in folders if (root := _root_of(folder)) is not None and folder.endswith(ends)})
    held = {root: held_stitching(store, root) for root in roots}
    return {root: stitching for root, stitching in held.items() if stitching is not None}


def _root_of(folder: str) -> str | None:
    """Returns the folder in which a version's folder is, None for a folder that is none."""
    parent, _, name = folder.rstrip("/").rpartition("/")
    return (f"{parent}/" if parent else "") if name in VERSIONS else None


def _required(histories: Mapping[str, Stitching], folder: str, asked: TimeWindow | None) -> TimeWindow | None:
    """Returns what a folder has to cover of a range: all of it, or what a stitched history requires of a version."""
    stitching = histories.get(_root_of(folder) or "") if _root_of(folder) is not None else None
    if stitching is None or asked is None:
        return asked
    return stitching.required(folder.rstrip("/").rpartition("/")[2], asked)


def _range_of(
    histories: Mapping[str, Stitching],
    listed: Mapping[str, _Listed],
    folder: str,
    start: datetime | None,
    end: datetime | None,
) -> _Range | None:
    """Returns the range of a dataset, None if it has no window or nothing to cover.

    Without a bound, a version of a stitched history begins and ends where the history of both does.
    """
    windows, root = listed[folder].windows, _root_of(folder)
    like, known = folder, dict(windows)
    if root is not None and root in histories:
        siblings = [f"{root}{stream_folder(version)}" for version in VERSIONS]
        known = {window: key for one in siblings if one in listed for window, key in listed[one].windows.items()}
        like = next((one for one in siblings if one in listed and listed[one].windows), folder)
    if not known:
        return None
    whole = TimeWindow(start or min(known).start, end or max(window.end for window in known))
    required = _required(histories, folder, whole)
    if required is None:
        return None
    return _Range(required, windows or known, folder if windows else like)


def _windows(
    store: Store, folder: str, asked: TimeWindow | None, index: ManifestIndex | None
) -> tuple[dict[TimeWindow, str], bool]:
    """Returns windows of a dataset with the keys of their newest manifests, relative to the folder.

    All of them, or those around a range of some days. A window that ends at the end of the range or later shows that
    everything before it is due (true). Otherwise that depends on the newest windows, which are then there, too.
    """
    if asked is None or not is_near(asked):
        return newest_manifests(_list_manifests(store, folder, index)), False
    windows = newest_manifests(list_around(store, TimeWindow(asked.start, asked.end + _TICK), folder).manifest_keys)
    if any(window.end >= asked.end for window in windows):
        return windows, True
    return windows | newest_windows(store, folder, RECENT_COUNT), False


def _list_manifests(store: Store, folder: str, index: ManifestIndex | None) -> Iterable[str]:
    """Returns the keys of all manifests; an index is compared with the listing, which then has to state sizes."""
    if index is None:
        return (key.removeprefix(folder) for key in store.list_keys(folder + MANIFEST_FOLDER))
    listed = {one.key.removeprefix(folder): one for one in store.list_objects(folder + MANIFEST_FOLDER)}
    index.compare(listed)
    return listed


class _DatasetReader:
    """Reads the dataset in a folder: manifests from copies in the index, all others themselves."""

    def __init__(self, store: Store, folder: str, index: ManifestIndex, *, keeps_read: bool) -> None:
        self._store = store
        self._folder = folder
        self._index = index
        self._keeps_read = keeps_read
        # What was read itself, for the index.
        self._read: dict[str, bytes] = {}

    def coverage(
        self, windows: Mapping[TimeWindow, str], time_range: TimeWindow, due_at: datetime, *, like: str
    ) -> DatasetCoverage:
        """Returns the coverage of a range by windows with the keys of their newest manifests; writes the index.

        ``like`` is the folder whose newest window stands for a missing descriptor.
        """
        content = self._store.read(self._folder + DATASET_KEY)
        dataset = read_dataset(content) if content is not None else self._newest_dataset(like)
        wanted = {window: windows[window] for window in sorted(windows) if window.overlaps(time_range)}
        facts = self._facts(wanted, dataset)
        own = {window: windows[window] for window, fact in facts.items() if not fact.is_foreign}
        verified = verified_by(own, read_passes(self._store, self._folder))
        found = coverage_of(time_range, facts, due_at)
        self._index.write(self._read)
        findings = tuple(self._index.findings)
        return DatasetCoverage(self._folder, dataset, content is not None, found, verified, findings)

    def _newest_dataset(self, folder: str) -> Dataset:
        """Returns the dataset of the newest window in a folder; of another version's folder, the same for this one."""
        newest = newest_windows(self._store, folder, 1)
        found = dataset_of(read_committed(self._store, folder + newest[max(newest)]).manifest)
        return found if folder == self._folder else of_version(found, self._folder.rstrip("/").rpartition("/")[2])

    def _facts(self, wanted: Mapping[TimeWindow, str], dataset: Dataset) -> dict[TimeWindow, WindowFacts]:
        copied = {window: self._copied_facts(key, dataset) for window, key in wanted.items()}
        # A copy that cannot be decoded has its index ignored, also for the windows before it.
        found = {
            window: fact
            for window, fact in copied.items()
            if fact is not None and self._index.copy(wanted[window]) is not None
        }
        unread = {self._folder + key: window for window, key in wanted.items() if window not in found}
        for key, content in read_each(self._store, list(unread)):
            found[unread[key]] = _facts_of(committed_manifest(key, content).manifest, dataset)
            if self._keeps_read and content is not None:
                self._read[key.removeprefix(self._folder)] = content
        return found

    def _copied_facts(self, key: str, dataset: Dataset) -> WindowFacts | None:
        content = self._index.copy(key)
        if content is None:
            return None
        try:
            fact = _facts_of(placed_manifest(self._folder + key, content), dataset)
        except VerificationError:
            # The manifest itself is read, and raises the error if it has the same bytes.
            self._index.ignore_index_of(key, differing(key))
            return None
        return fact if not fact.is_foreign or self._index.is_confirmed(key) else None


def _facts_of(manifest: Manifest, dataset: Dataset) -> WindowFacts:
    return facts_of(manifest, is_foreign=_is_foreign(manifest, dataset))


def _is_foreign(manifest: Manifest, dataset: Dataset) -> bool:
    mine = dataset_of(manifest)
    return mine != (dataset.as_erased(mine) if manifest.erased else dataset)
