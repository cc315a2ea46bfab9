"""Keys of the objects that state what committed records changed, in the folder ``_changes`` of a destination.

::

    _changes/dt=2026-10-26/{window}/part-….jsonl.gz   the values before and after of some records of a part
    _changes/dt=2026-10-26/{window}/g0001.json        the commit of the changes of a generation, written last
    …-forbidden.jsonl.gz, …-forbidden.json            the same while the API refuses a history
"""

from __future__ import annotations

import re

from airflow_audit_provider.core.archive.object_keys import PARTITION_START, WindowKeys, read_manifest_key, window_in
from airflow_audit_provider.core.archive.part_names import part_stem
from airflow_audit_provider.core.windows.window import TimeWindow

CHANGES_FOLDER = "_changes/"
_FORBIDDEN = "-forbidden"
_NAME = re.compile(r"(?:g(\d{4,15})|part-[\w-]{1,80}-\d{5,9})(?:-forbidden)?(\.json|\.jsonl\.gz)", re.ASCII)


def change_commit_key(window: TimeWindow, manifest_key: str) -> str:
    """Returns the key of the commit of the changes of one generation of a window, given by its manifest."""
    named = read_manifest_key(manifest_key)
    return f"{changes_folder(window)}g{named.generation if named else 0:04}.json"


def change_file_key(window: TimeWindow, part_key: str, number: int) -> str:
    """Returns the key of a file of changes of some records of a part. Only that part's records can be in it."""
    return f"{changes_folder(window)}{part_stem(part_key)}-{number:05}.jsonl.gz"


def forbidden_key(key: str) -> str:
    """Returns the key that stands for a file or commit of changes until the API allows to read each history."""
    folder, slash, name = key.rpartition("/")
    stem, dot, ending = name.partition(".")
    return f"{folder}{slash}{stem}{_FORBIDDEN}{dot}{ending}"


def changes_folder(window: TimeWindow) -> str:
    """Returns the folder of the changes of a window."""
    day = window.start.date()
    return f"{CHANGES_FOLDER}{PARTITION_START}{day.isoformat()}/{WindowKeys(window, day).name}/"


def change_generation(key: str) -> int:
    """Returns the generation in the key of a commit of changes, 0 for any other key."""
    match = _NAME.fullmatch(key.rpartition("/")[2])
    return int(match[1] or 0) if match else 0


def is_change_key(key: str) -> bool:
    """Returns whether a key is that of an object of changes."""
    folder, _, name = key.rpartition("/")
    window, match = window_in(folder), _NAME.fullmatch(name)
    if window is None or match is None or f"{folder}/" != changes_folder(window):
        return False
    return (match[1] is None) == (match[2] != ".json")
