"""Reads some of the changes that were derived for one window, for the page that shows them to people.

Invariant: it writes nothing, reads a bounded number of files, and a file that cannot be used is a problem in words.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from airflow_audit_provider.core.archive.object_keys import change_commit_key
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.warehouse.change_files import ChangeRow, ChangesCommit, read_rows, statuses_of
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


def window_changes(store: Store, window: TimeWindow, manifest_key: str) -> WindowChanges | None:
    """Returns the changes of the newest generation of a window, None if none were derived."""
    key = change_commit_key(window, manifest_key)
    content = store.read(key)
    if content is None:
        return None
    try:
        commit = msgspec.json.decode(content, type=ChangesCommit)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return WindowChanges((), {}, 0, f"The commit of changes {key} is damaged.")
    rows: list[ChangeRow] = []
    problem = ""
    for name, found in read_each_within_bounds(store, [file.key for file in commit.files[:_MOST_FILES]]):
        try:
            rows += read_rows(name, found if isinstance(found, bytes) else None)
        except VerificationError as error:
            problem = error.message
    changed = [row for row in rows if row.fields]
    shown = sorted(changed, key=lambda row: (row.event_time, row.id))[:MOST_CHANGES]
    return WindowChanges(tuple(shown), statuses_of(commit.files), commit.record_count, problem)
