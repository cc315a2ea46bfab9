"""Reads the manifests of all generations of one window, for the page that shows them to people.

Invariant: it writes nothing, and a manifest that cannot be read is a generation with the reason why not.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from airflow_audit_provider.core.archive.manifest import Manifest
from airflow_audit_provider.core.archive.object_keys import DATASET_KEY, WindowKeys
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.exceptions import ReadLimitExceededError, VerificationError
from airflow_audit_provider.pipelines.committed import placed_manifest
from airflow_audit_provider.pipelines.side_by_side import read_each_within_bounds
from airflow_audit_provider.pipelines.window_changes import WindowChanges, window_changes

# Each late record can make a generation, so a window can have hundreds; the page shows the newest.
MOST_READ = 50


class Generation(NamedTuple):
    """One generation: ``manifest`` is None if it cannot be used, and ``problem`` says why."""

    number: int
    key: str
    sha256: str
    manifest: Manifest | None
    problem: str


class WindowHistory(NamedTuple):
    """The newest generations of a window, the newest first, how many there are, and the bytes that were read.

    ``changes`` are those derived for the newest generation, None if there are none or they are not wanted.
    """

    generations: tuple[Generation, ...]
    generation_count: int
    size_bytes: int
    changes: WindowChanges | None = None


def window_history(store: Store, keys: WindowKeys, *, with_changes: bool = False) -> WindowHistory:
    """Returns the generations of a window, with the changes derived for it on request; none if it is not committed.

    Raises ``StorageError`` if the destination cannot be read.
    """
    numbers = {keys.generation_of(key) for key in store.list_keys(keys.manifest_prefix)}
    listed = sorted((number for number in numbers if number is not None), reverse=True)
    if not listed:
        # A file in the place of the destination lists nothing; reading below it raises the error that says so.
        store.read(DATASET_KEY)
    newest = {keys.manifest(number): number for number in listed[:MOST_READ]}
    read = list(read_each_within_bounds(store, list(newest)))
    size_bytes = sum(len(content) for _, content in read if isinstance(content, bytes))
    generations = tuple(_generation(newest[key], key, content) for key, content in read)
    changes = None
    if with_changes and generations:
        changes = window_changes(store, keys.window, generations[0].key, generations[0].sha256)
    return WindowHistory(generations, len(listed), size_bytes, changes)


def _generation(number: int, key: str, content: bytes | ReadLimitExceededError | None) -> Generation:
    if isinstance(content, ReadLimitExceededError):
        return Generation(number, key, "", None, content.message)
    if content is None:
        return Generation(number, key, "", None, f"The manifest {key} was listed and is gone.")
    sha256 = hashlib.sha256(content).hexdigest()
    try:
        return Generation(number, key, sha256, placed_manifest(key, content), "")
    except VerificationError as error:
        return Generation(number, key, sha256, None, error.message)
