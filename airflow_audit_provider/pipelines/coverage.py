"""Reports what each dataset below a root covers: committed, empty, foreign, missing and pending spans of time.

Invariant: it reads the descriptor, the newest manifest of each window in the range and the records of verifications,
and writes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import msgspec

from airflow_audit_provider.core.archive.dataset import Dataset, dataset_of, read_dataset
from airflow_audit_provider.core.archive.manifest import Manifest
from airflow_audit_provider.core.archive.object_keys import (
    DATASET_KEY,
    MANIFEST_FOLDER,
    newest_manifests,
    read_manifest_key,
)
from airflow_audit_provider.core.limits import DEFAULT_SETTLE_DELAY, check_settle_delay
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.verification.coverage import Coverage, coverage_of, due_until, facts_of
from airflow_audit_provider.core.verification.pass_records import Verified, verified_by
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.pipelines.committed import read_committed
from airflow_audit_provider.pipelines.pass_records import read_passes


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
    found = []
    for folder, keys in sorted(_manifest_keys(store.list_keys("")).items()):
        windows = newest_manifests(keys)
        time_range = TimeWindow(start or min(windows).start, end or max(window.end for window in windows))
        found.append(_of_one(store, folder, windows, time_range, due_until(windows, now, settle_delay)))
    return tuple(found)


def _manifest_keys(keys: Iterable[str]) -> dict[str, list[str]]:
    """Returns the keys of manifests, relative to their dataset's folder, by that folder."""
    found: dict[str, list[str]] = defaultdict(list)
    for key in keys:
        folder, separator, rest = key.rpartition(MANIFEST_FOLDER)
        if separator and (not folder or folder.endswith("/")) and read_manifest_key(separator + rest) is not None:
            found[folder].append(separator + rest)
    return found


def _of_one(
    store: Store, folder: str, windows: Mapping[TimeWindow, str], time_range: TimeWindow, due_at: datetime
) -> DatasetCoverage:
    content = store.read(folder + DATASET_KEY)
    newest = {
        window: read_committed(store, folder + key).manifest
        for window, key in windows.items()
        if window.overlaps(time_range)
    }
    if content is not None:
        dataset = read_dataset(content)
    else:
        last = max(windows)
        dataset = dataset_of(newest[last] if last in newest else read_committed(store, folder + windows[last]).manifest)
    facts = {
        window: facts_of(manifest, is_foreign=_is_foreign(manifest, dataset)) for window, manifest in newest.items()
    }
    own = {window: windows[window] for window, fact in facts.items() if not fact.is_foreign}
    verified = verified_by(own, read_passes(store, folder))
    return DatasetCoverage(folder, dataset, content is not None, coverage_of(time_range, facts, due_at), verified)


def _is_foreign(manifest: Manifest, dataset: Dataset) -> bool:
    mine = dataset_of(manifest)
    return mine != (dataset.as_erased(mine) if manifest.erased else dataset)
