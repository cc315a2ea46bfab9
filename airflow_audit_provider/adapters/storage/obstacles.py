"""Keys that lead out of a destination, and what is in the way of a local file: a folder, a dead link, a pipe.

Anyone who can write to the destination can put such an object there, or name such a key in a manifest.

Invariant: it opens nothing, because opening a named pipe waits for its writer.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from airflow_audit_provider.exceptions import StorageError

# Some libraries take a backslash for a slash.
_SEPARATORS = re.compile(r"[/\\]")
_FOLDER, _FILE = "a folder", "a file"
DEAD_LINK = "a link that leads nowhere"
_KINDS = (
    (stat.S_ISREG, _FILE),
    (stat.S_ISDIR, _FOLDER),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
)


def check_key(key: str) -> None:
    """Raises ``StorageError`` for a key or prefix that a file system or a library could resolve to another folder."""
    if key.startswith("/") or not {".", ".."}.isdisjoint(_SEPARATORS.split(key)):
        raise StorageError(
            f"The key {key[:200]!r} leads out of its folder. No run writes such a key. Find out who wrote the object "
            "that has this key or names it, and move that object out of the destination.",
            key=key,
        )


def check_no_obstacle(root: Path, key: str, action: str) -> None:
    """Raises ``StorageError`` if there is something but no file under a key, or no folder on the way to it."""
    target = root / key
    folders = [path for path in reversed(target.parents) if path.is_relative_to(root)]
    for path, expected in (*((folder, _FOLDER) for folder in folders), (target, _FILE)):
        found = _kind_of(path)
        if found not in {None, expected}:
            raise obstacle_error(path, key, action, str(found))


def obstacle_error(path: Path, key: str, action: str, kind: str) -> StorageError:
    """Returns the error of a key that something else is in the way of."""
    return StorageError(
        f"{key!r} cannot be {action}, because {str(path)!r} is {kind}. No run creates such an object. Move it out of "
        "the destination, or correct the destination, then run the task again.",
        key=key,
    )


def _kind_of(path: Path) -> str | None:
    """Returns what a path or the end of its links is, None if there is nothing."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return DEAD_LINK if os.path.islink(path) else None  # noqa: PTH114 - Path.is_symlink may raise
    return next((text for is_kind, text in _KINDS if is_kind(mode)), "a device")
