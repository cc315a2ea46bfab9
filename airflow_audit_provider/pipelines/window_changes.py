"""Reads some of the changes that were derived for one window, for the page that shows them to people.

Invariant: it writes nothing, reads a bounded number of files, and a file that cannot be used is a problem in words.
"""

from __future__ import annotations

import hashlib
from itertools import islice
from typing import NamedTuple

from airflow_audit_provider.core.archive.change_keys import change_commit_key, forbidden_key
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.warehouse.change_files import (
    ChangeFile,
    ChangeRow,
    read_commit,
    read_rows,
    statuses_of,
)
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import VerificationError
from airflow_audit_provider.pipelines.side_by_side import read_each_within_bounds

_MOST_FILES = 4
MOST_CHANGES = 50


class WindowChanges(NamedTuple):
    """The first changes of a window, how many records it has by their status, and what could not be read."""

    rows: tuple[ChangeRow, ...]
    statuses: dict[str, int]
    record_count: int
    problem: str = ""


def window_changes(
    store: Store, window: TimeWindow, manifest_key: str, manifest_sha256: str, most_changes: int = MOST_CHANGES
) -> WindowChanges | None:
    """Returns the changes of the newest generation of a window, None if none were derived.

    Changes that were derived from a manifest with another digest, and files with another one than the commit states,
    are a problem and not shown.
    """
    key = change_commit_key(window, manifest_key)
    content = store.read(key)
    if content is None:
        key = forbidden_key(key)
        content = store.read(key)
    if content is None:
        return None
    try:
        commit = read_commit(key, content)
    except VerificationError as error:
        return WindowChanges((), {}, 0, error.message)
    if (commit.manifest_key, commit.manifest_sha256) != (manifest_key, manifest_sha256):
        return WindowChanges((), {}, 0, f"The commit of changes {key} is about another manifest than {manifest_key}.")
    rows: list[ChangeRow] = []
    problem = ""
    files = commit.files[:_MOST_FILES]
    read = read_each_within_bounds(store, [file.key for file in files])
    for file, (_, found) in zip(files, read, strict=True):
        try:
            rows += _first_changed(file, found if isinstance(found, bytes) else None, most_changes)
        except VerificationError as error:
            problem = error.message
    shown = sorted(rows, key=lambda row: (row.event_time, row.id))[:most_changes]
    return WindowChanges(tuple(shown), statuses_of(commit.files), commit.record_count, problem)


def _first_changed(file: ChangeFile, content: bytes | None, most_changes: int) -> list[ChangeRow]:
    """Returns the first rows of a file, which are in the order of time, that changed something."""
    if content is not None and hashlib.sha256(content).hexdigest() != file.sha256:
        raise VerificationError(
            f"The file of changes {file.key} is not the one that its commit names. Find out who wrote it, remove its "
            "folder, then run the changes task again."
        )
    return list(islice((row for row in read_rows(file.key, content) if row.fields), most_changes))
