"""Reads and claims the descriptor of a stitched history; see ``core/archive/stitching``.

Invariant: the descriptor exists before anything is landed below its root, and states from then on the same account,
filters and cut-over.
"""

from __future__ import annotations

from airflow_audit_provider.core.api.endpoints import VERSIONS
from airflow_audit_provider.core.archive.dataset import read_dataset
from airflow_audit_provider.core.archive.object_keys import DATASET_KEY, MANIFEST_FOLDER
from airflow_audit_provider.core.archive.stitching import (
    STITCHING_KEY,
    Stitching,
    extends,
    read_stitching,
    stream_folder,
)
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.windows.window import format_instant
from airflow_audit_provider.exceptions import CommitConflictError, ConfigurationError


def held_stitching(store: Store, folder: str = "") -> Stitching | None:
    """Returns the descriptor in a folder, by default the store's root; None if it is no root of a stitched history."""
    content = store.read(f"{folder}{STITCHING_KEY}")
    return None if content is None else read_stitching(content)


def check_one_version(store: Store) -> None:
    """Raises ``ConfigurationError`` if a store is the root of a stitched history, and not the folder of one version."""
    stitching = held_stitching(store)
    if stitching is not None:
        raise ConfigurationError(
            "The destination is the root of a stitched history, and windows, seals and staging are in the folder of "
            "each version. Give these folders, v1 and v2 below it, one after the other. To land windows, limit the "
            f"range: v1 holds the windows that start before {format_instant(stitching.v1_ends_at)}, v2 those that "
            f"start at {format_instant(stitching.cut_over_at)} or later."
        )


def claim_stitching(store: Store, asked: Stitching) -> Stitching:
    """Returns the descriptor of the root after creating it, or after making its overlap longer.

    Raises ``CommitConflictError`` if the root holds another history, or a dataset of one version, or if the folder of a
    version holds another log.
    """
    held = held_stitching(store)
    if held is None:
        _check_no_dataset(store)
        _check_same_log(store, asked)
        if store.create(STITCHING_KEY, asked.to_bytes()):
            return asked
        held = held_stitching(store) or asked
    if extends(held, asked):
        # Of two writers with longer overlaps the last one wins; the next run of the other one makes it longer again.
        store.put(STITCHING_KEY, asked.to_bytes())
    return asked


def _check_no_dataset(store: Store) -> None:
    """Raises ``CommitConflictError`` if windows of one version are committed in the root itself."""
    if store.read(DATASET_KEY) is not None or any(store.list_keys(MANIFEST_FOLDER)):
        raise CommitConflictError(
            "The destination holds a dataset of one version of the API, so it cannot be the root of a stitched "
            "history. Use another destination. To keep what is landed, move it to the folder of its version, v1 or v2, "
            "below the new destination first.",
            key=DATASET_KEY,
        )


def _check_same_log(store: Store, asked: Stitching) -> None:
    """Raises ``CommitConflictError`` if a version's folder, moved there or left, has the log of another account."""
    for version in VERSIONS:
        key = f"{stream_folder(version)}{DATASET_KEY}"
        content = store.read(key)
        differences = [] if content is None else asked.log_differences(version, read_dataset(content).query)
        if differences:
            raise CommitConflictError(
                f"The destination has windows of another audit log than this run ({key}): {'; '.join(differences)}. "
                "Nothing was read or written. Correct the arguments, or use another destination.",
                key=key,
            )
