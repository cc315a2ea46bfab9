"""Reads changes that were derived: the first ones of one window, for the page, or those of one record, for a person.

Invariant: it writes nothing. For the page it reads a bounded number of files, and one that cannot be used is a problem
in words.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from airflow_audit_provider.core.archive.change_keys import change_commit_key, forbidden_key
from airflow_audit_provider.core.archive.object_keys import newest_manifests
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.warehouse.change_files import (
    ChangeFile,
    ChangeRow,
    read_commit,
    read_rows,
    statuses_of,
)
from airflow_audit_provider.core.windows.window import TimeWindow, count_of
from airflow_audit_provider.exceptions import NotCommittedError, VerificationError
from airflow_audit_provider.pipelines.neighbourhood import manifest_keys_around
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


def find_change(store: Store, time_range: TimeWindow, record_id: str) -> ChangeRow:
    """Returns the row of a record in a range of committed windows, the newest windows first.

    Raises ``NotCommittedError`` if no changes of these windows have it, and ``VerificationError`` for a commit or file
    that is damaged.
    """
    listed = newest_manifests(manifest_keys_around(store, time_range))
    windows = [window for window in sorted(listed, reverse=True) if window.overlaps(time_range)]
    for window in windows:
        key = change_commit_key(window, listed[window])
        found = [(one, content) for one in (key, forbidden_key(key)) if (content := store.read(one)) is not None]
        for file in read_commit(*found[0]).files if found else ():
            row = next((row for row in _rows_of(file, store.read(file.key)) if row.id == record_id), None)
            if row is not None:
                return row
    raise NotCommittedError(
        f"No changes of the record {record_id!r} were derived in {count_of(len(windows), 'window')}. Check the id and "
        "the range, or run the command without --show first."
    )


def _first_changed(file: ChangeFile, content: bytes | None, most_changes: int) -> list[ChangeRow]:
    """Returns the first rows of a file, which are in the order of time, that changed something."""
    return list(islice((row for row in _rows_of(file, content) if row.fields), most_changes))


def _rows_of(file: ChangeFile, content: bytes | None) -> Iterator[ChangeRow]:
    """Yields the rows of a file; raises ``VerificationError`` if it is not the one that its commit names."""
    if content is not None and hashlib.sha256(content).hexdigest() != file.sha256:
        raise VerificationError(
            f"The file of changes {file.key} is not the one that its commit names. Find out who wrote it, remove its "
            "folder, then run the changes task again."
        )
    yield from read_rows(file.key, content)
