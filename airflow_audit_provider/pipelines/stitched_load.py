"""Loads a stitched history into one table: the windows of each version, with the version's folder as their dataset.

Invariant: each version is loaded as a dataset of its own, so windows of the two never replace each other.
"""

from __future__ import annotations

from collections.abc import Callable

from airflow_audit_provider.core.api.endpoints import VERSIONS
from airflow_audit_provider.core.archive.object_keys import MANIFEST_FOLDER, newest_manifests
from airflow_audit_provider.core.archive.stitching import Stitching, stream_folder
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.warehouse.port import Warehouse
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import NotCommittedError
from airflow_audit_provider.pipelines.load import LoadCallback, LoadedWindow, LoadOutcome, LoadSpec, load_committed


def load_stitched(
    spec: LoadSpec,
    stitching: Stitching,
    open_stream: Callable[[str], Store],
    warehouse: Warehouse,
    on_loaded: LoadCallback,
) -> LoadOutcome:
    """Loads what is committed of both versions and not loaded yet; idempotent.

    ``spec`` is about the root. A requested window has to be committed in each version as far as the history requires
    it; without a request, a version may have nothing if the windows of the other one do not require it. Both versions
    are loaded before ``NotCommittedError`` of one is raised; see ``load_committed`` for the rest.
    """
    loaded: list[LoadedWindow] = []
    unchanged_count, missing = 0, None
    for version in VERSIONS:
        requested = _requested(spec.requested, stitching, version)
        if requested is not None and not requested:
            continue
        folder = stream_folder(version).rstrip("/")
        of_version = spec._replace(
            dataset=f"{spec.dataset}/{folder}",
            destination=f"{spec.destination}/{folder}",
            requested=requested,
            is_exact=False,
        )
        try:
            outcome = load_committed(of_version, open_stream(version), warehouse, on_loaded)
        except NotCommittedError as error:
            if requested is not None or _is_due(stitching, version, open_stream):
                missing = missing or error
            continue
        loaded += outcome.loaded
        unchanged_count += outcome.unchanged_count
    if missing is not None:
        raise missing
    return LoadOutcome(tuple(sorted(loaded, key=lambda one: one.window)), unchanged_count)


def _is_due(stitching: Stitching, version: str, open_stream: Callable[[str], Store]) -> bool:
    """Returns whether a version without any window has to cover some of the other version's time."""
    (other,) = (name for name in VERSIONS if name != version)
    windows = newest_manifests(open_stream(other).list_keys(MANIFEST_FOLDER))
    if not windows:
        return True
    span = TimeWindow(min(windows).start, max(window.end for window in windows))
    return stitching.required(version, span) is not None


def _requested(
    windows: tuple[TimeWindow, ...] | None, stitching: Stitching, version: str
) -> tuple[TimeWindow, ...] | None:
    """Returns the parts of requested windows that a version has to cover, None if all windows are requested."""
    if windows is None:
        return None
    required = (stitching.required(version, window) for window in windows)
    return tuple(window for window in required if window is not None)
