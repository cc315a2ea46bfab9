"""Reports what a destination covers: committed, empty and missing spans of time."""

from __future__ import annotations

from datetime import datetime

from airflow_audit_provider.core.archive.object_keys import (
    MANIFEST_FOLDER,
    newest_manifests,
)
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.verification.coverage import Coverage, coverage_of, facts_of
from airflow_audit_provider.core.windows.window import EARLIEST_AT, LATEST_AT, TimeWindow
from airflow_audit_provider.pipelines.committed import read_committed


def coverage(store: Store, start: datetime | None = None, end: datetime | None = None) -> Coverage | None:
    """Returns which spans of ``[start, end)`` are committed, empty or missing, from each window's newest manifest.

    A bound that is None is the start of the first or the end of the last window. Returns None if a bound is None and no
    window is committed. Raises ``VerificationError`` for a manifest that cannot be read.
    """
    windows = newest_manifests(store.list_keys(MANIFEST_FOLDER))
    if not windows and None in {start, end}:
        return None
    first = min((window.start for window in windows), default=start)
    last = max((window.end for window in windows), default=end)
    time_range = TimeWindow(start or first or EARLIEST_AT, end or last or LATEST_AT)
    newest = {window: read_committed(store, key) for window, key in windows.items() if window.overlaps(time_range)}
    return coverage_of(time_range, {window: facts_of(committed.manifest) for window, committed in newest.items()})
