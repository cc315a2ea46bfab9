"""Local files: every object fsynced, then renamed or linked into place.

Knows: the operating system's files. Must not know: fsspec, Airflow, what the objects mean.
Its one rule: under a final name there is a whole file or none, after a power cut too.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, TypeVar
from uuid import uuid4

from airflow_audit_provider.adapters.clock import SystemClock
from airflow_audit_provider.adapters.storage.errors import translate_storage_errors
from airflow_audit_provider.core.archive.object_keys import UNFINISHED_FOLDER, unfinished_key
from airflow_audit_provider.core.ports import StagedObject

_Made = TypeVar("_Made")
# How often a folder may vanish between its making and its first file; each time another run has to hit these moments.
_MOST_REMOVALS = 5


class LocalStore:
    """Satisfies :class:`~airflow_audit_provider.core.ports.Store` with files below a folder: fsync, then rename."""

    def __init__(self, root: str) -> None:
        self._root = Path(root)

    def read(self, key: str) -> bytes | None:
        """Return the whole file, or None when there is none."""
        with translate_storage_errors("read", key):
            try:
                return (self._root / key).read_bytes()
            except FileNotFoundError:
                return None

    def list_keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys below a prefix, sorted; files being written have keys of their own in staging."""
        return (key for key, _ in self.list_sizes(prefix))

    def list_sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yield the keys below a prefix with their sizes in bytes, sorted by key; a link to a folder is a key too."""
        with translate_storage_errors("listed", prefix):
            sized = [
                (path.relative_to(self._root).as_posix(), _size_bytes(path)) for path in _files(self._root / prefix)
            ]
        yield from sorted((key, size_bytes) for key, size_bytes in sized if size_bytes is not None)

    def stage(self, key: str) -> StagedObject:
        """Open a file for writing under a name no reader takes."""
        with translate_storage_errors("written", key):
            return _LocalStagedObject(self._root, key, self._unfinished())

    def publish(self, staged_key: str, key: str) -> None:
        """Give a staged file its final name as well; idempotent."""
        with translate_storage_errors("published", key):
            target, linked = self._root / key, self._unfinished()
            try:
                _in_folder(linked.parent, lambda: os.link(self._root / staged_key, linked))
                _in_folder(target.parent, lambda: linked.replace(target))
                # Where both names were one file already, the rename is none.
                linked.unlink(missing_ok=True)
            except FileNotFoundError:
                if not target.exists():
                    raise
            _sync_folder(target.parent)

    def create(self, key: str, content: bytes) -> bool:
        """Write a small file whole unless its name exists; return whether this call created it."""
        with translate_storage_errors("created", key):
            target = self._root / key
            staged = _LocalStagedObject(self._root, key, self._unfinished())
            try:
                staged.write(content)
                written = staged.finish()
                # A hard link fails where a rename would overwrite: the commit is create-only.
                _in_folder(target.parent, lambda: os.link(written, target))
                _sync_folder(target.parent)
            except FileExistsError:
                return False
            finally:
                staged.discard()
            return True

    def _unfinished(self) -> Path:
        """Return a new name in staging that tells its age: whatever dies leaves nothing where readers look."""
        return self._root / unfinished_key(SystemClock().now(), uuid4().hex)

    def remove(self, keys: Iterable[str]) -> None:
        """Remove files, and folders that become empty by it; one that is already gone is no error."""
        for key in keys:
            with translate_storage_errors("removed", key):
                (self._root / key).unlink(missing_ok=True)
                _prune((self._root / key).parent, self._root)
        # Not after each file that is written: runs side by side would take the folder from under each other.
        _prune(self._root / UNFINISHED_FOLDER, self._root)


class _LocalStagedObject:
    """A file under a temporary name until it is whole."""

    def __init__(self, root: Path, key: str, temporary: Path) -> None:
        self.key = key
        self._root = root
        self._temporary = temporary
        self._file: BinaryIO = _in_folder(temporary.parent, lambda: temporary.open("xb"))

    def write(self, content: bytes) -> None:
        with translate_storage_errors("written", self.key):
            self._file.write(content)

    def finish(self) -> Path:
        """Make the bytes durable and return where they are."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return self._temporary

    def close(self) -> None:
        with translate_storage_errors("written", self.key):
            written, target = self.finish(), self._root / self.key
            _in_folder(target.parent, lambda: written.replace(target))
            _sync_folder(target.parent)

    def discard(self) -> None:
        with translate_storage_errors("discarded", self.key):
            self._file.close()
            self._temporary.unlink(missing_ok=True)


def _files(folder: Path) -> Iterator[Path]:
    """Yield what lies below a folder and is no folder itself; what another run removes meanwhile is left out."""
    for name, folders, files in os.walk(folder, onerror=_refuse_unreadable):
        yield from (path for path in (Path(name, each) for each in folders) if path.is_symlink())
        yield from (Path(name, each) for each in files)


def _refuse_unreadable(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def _size_bytes(path: Path) -> int | None:
    """Return a file's size, a link's own where it leads to no file; None for what was removed since it was listed."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None if not path.is_symlink() else 0
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


def _prune(folder: Path, root: Path) -> None:
    """Remove a folder and those above it up to a root, as far as they are empty."""
    while folder != root and folder.is_relative_to(root):
        try:
            folder.rmdir()
        except OSError:
            # Not empty, or another run removed it first: both are fine.
            return
        folder = folder.parent


def _in_folder(folder: Path, action: Callable[[], _Made]) -> _Made:
    """Do something in a folder that is made first, again if another run removed the empty folder in between."""
    for _ in range(_MOST_REMOVALS):
        with suppress(FileNotFoundError):
            _make(folder)
            return action()
    _make(folder)
    return action()


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        # It was there, and was removed before that could be seen: as good as removed right after.
        if folder.exists():
            raise
        raise FileNotFoundError(folder) from None


def _sync_folder(folder: Path) -> None:
    """Make a rename durable: the folder's own entry must reach the disk too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
