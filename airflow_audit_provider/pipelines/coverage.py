"""Reports what each dataset below a root covers: committed, empty, foreign, missing and pending spans of time.

Invariant: it reads the descriptor, the newest manifest of each window in the range and the records of verifications,
and writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from airflow_audit_provider.core.archive.dataset import Dataset, dataset_of, read_dataset
from airflow_audit_provider.core.archive.manifest import Manifest
from airflow_audit_provider.core.archive.object_keys import DATASET_KEY, MANIFEST_FOLDER, newest_manifests
from airflow_audit_provider.core.limits import DEFAULT_SETTLE_DELAY, check_settle_delay
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.verification.coverage import RECENT_COUNT, Coverage, coverage_of, due_until, facts_of
from airflow_audit_provider.core.verification.pass_records import Verified, verified_by
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.pipelines.committed import committed_manifest, read_committed
from airflow_audit_provider.pipelines.neighbourhood import dataset_folders, is_near, list_around, newest_windows
from airflow_audit_provider.pipelines.pass_records import read_passes
from airflow_audit_provider.pipelines.side_by_side import read_each

_TICK = timedelta(microseconds=1)


class DatasetCoverage(msgspec.Struct, frozen=True):
    """Coverage of one dataset.

    ``folder`` is the dataset's place below the root, empty for the root itself, otherwise with a slash at its end.
    Without a descriptor (``has_descriptor``) the newest window stands for the dataset. ``verified`` is what the records
    of verifications state.
    """

    folder: str
    dataset: Dataset
    has_descriptor: bool
    coverage: Coverage
    verified: Verified

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing: no span that is due, and not the descriptor; and no window is foreign."""
        return self.has_descriptor and self.coverage.is_complete


def coverage(
    store: Store,
    now: datetime,
    start: datetime | None = None,
    end: datetime | None = None,
    settle_delay: timedelta = DEFAULT_SETTLE_DELAY,
) -> tuple[DatasetCoverage, ...]:
    """Returns the coverage of ``[start, end)`` by each dataset at the store's root or below it, sorted by folder.

    A bound that is None is the start of the dataset's first, or the end of its last window. Instants after ``now`` less
    the settle delay, and a window that is not over, are pending. A folder without a committed window is no dataset.
    Raises ``VerificationError`` for a manifest or descriptor that cannot be read.
    """
    check_settle_delay(settle_delay)
    asked = TimeWindow(start, end) if start is not None and end is not None else None
    found = []
    for folder in dataset_folders(store):
        windows, is_followed = _windows(store, folder, asked)
        if windows:
            time_range = TimeWindow(start or min(windows).start, end or max(window.end for window in windows))
            due_at = now - settle_delay if is_followed else due_until(windows, now, settle_delay)
            found.append(_of_one(store, folder, windows, time_range, due_at))
    return tuple(found)


def _windows(store: Store, folder: str, asked: TimeWindow | None) -> tuple[dict[TimeWindow, str], bool]:
    """Returns windows of a dataset with the keys of their newest manifests, relative to the folder.

    All of them, or those around a range of some days. A window that ends at the end of the range or later shows that
    everything before it is due (true). Otherwise that depends on the newest windows, which are then there, too.
    """
    if asked is None or not is_near(asked):
        return newest_manifests(key.removeprefix(folder) for key in store.list_keys(folder + MANIFEST_FOLDER)), False
    windows = newest_manifests(list_around(store, TimeWindow(asked.start, asked.end + _TICK), folder).manifest_keys)
    if any(window.end >= asked.end for window in windows):
        return windows, True
    return windows | newest_windows(store, folder, RECENT_COUNT), False


def _of_one(
    store: Store, folder: str, windows: Mapping[TimeWindow, str], time_range: TimeWindow, due_at: datetime
) -> DatasetCoverage:
    content = store.read(folder + DATASET_KEY)
    keys = {folder + key: window for window, key in sorted(windows.items()) if window.overlaps(time_range)}
    newest = {keys[key]: committed_manifest(key, read).manifest for key, read in read_each(store, list(keys))}
    dataset = read_dataset(content) if content is not None else _newest_dataset(store, folder)
    facts = {
        window: facts_of(manifest, is_foreign=_is_foreign(manifest, dataset)) for window, manifest in newest.items()
    }
    own = {window: windows[window] for window, fact in facts.items() if not fact.is_foreign}
    verified = verified_by(own, read_passes(store, folder))
    return DatasetCoverage(folder, dataset, content is not None, coverage_of(time_range, facts, due_at), verified)


def _newest_dataset(store: Store, folder: str) -> Dataset:
    newest = newest_windows(store, folder, 1)
    return dataset_of(read_committed(store, folder + newest[max(newest)]).manifest)


def _is_foreign(manifest: Manifest, dataset: Dataset) -> bool:
    mine = dataset_of(manifest)
    return mine != (dataset.as_erased(mine) if manifest.erased else dataset)
