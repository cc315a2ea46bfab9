"""Local files: every object fsynced, then renamed or linked into place.

Knows: the operating system's files. Must not know: fsspec, Airflow, what the objects mean.
Its one rule: under a final name there is a whole file or none, after a power cut too.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar
from uuid import uuid4

from airflow_audit_provider.adapters.store_failures import named_failures
from airflow_audit_provider.core.keys import STAGING_FOLDER
from airflow_audit_provider.core.ports import StagedObject

_Made = TypeVar("_Made")


class LocalStore:
    """Satisfies :class:`~airflow_audit_provider.core.ports.Store` with files below a folder: fsync, then rename."""

    def __init__(self, root: str) -> None:
        self._root = Path(root)

    def read(self, key: str) -> bytes | None:
        """Return the whole file, or None when there is none."""
        with named_failures("read", key):
            try:
                return (self._root / key).read_bytes()
            except FileNotFoundError:
                return None

    def list_keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys below a prefix, sorted; files being written are not among them."""
        return (key for key, _ in self.list_sizes(prefix))

    def list_sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yield the keys below a prefix with their sizes in bytes, sorted by key; no files being written."""
        with named_failures("listed", prefix):
            paths = [path for path in (self._root / prefix).rglob("*") if not path.name.endswith(_UNFINISHED)]
            sized = [(path.relative_to(self._root).as_posix(), _size_bytes(path)) for path in paths]
        yield from sorted((key, size_bytes) for key, size_bytes in sized if size_bytes is not None)

    def stage(self, key: str) -> StagedObject:
        """Open a file for writing under a name no reader takes."""
        with named_failures("written", key):
            return _LocalStagedObject(self._root / key, key)

    def publish(self, staged_key: str, key: str) -> None:
        """Give a staged file its final name as well; idempotent."""
        with named_failures("published", key):
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
        with named_failures("created", key):
            target, staged = self._root / key, _LocalStagedObject(self._unfinished(), key)
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
        """Return a new name in staging, so that whatever dies leaves nothing where readers look."""
        return self._root / STAGING_FOLDER / f".{uuid4().hex}{_UNFINISHED}"

    def remove(self, keys: Iterable[str]) -> None:
        """Remove files, and folders that become empty by it; one that is already gone is no error."""
        for key in keys:
            with named_failures("removed", key):
                (self._root / key).unlink(missing_ok=True)
                self._prune((self._root / key).parent)

    def _prune(self, folder: Path) -> None:
        while folder != self._root and folder.is_relative_to(self._root):
            try:
                folder.rmdir()
            except OSError:
                # Not empty, or another run removed it first: both are fine.
                return
            folder = folder.parent


_UNFINISHED = ".unfinished"


class _LocalStagedObject:
    """A file under a temporary name beside its final one."""

    def __init__(self, target: Path, key: str) -> None:
        self.key = key
        self._target = target
        self._temporary = target.with_name(f".{target.name}.{uuid4().hex}{_UNFINISHED}")
        self._file: BinaryIO = _in_folder(target.parent, lambda: self._temporary.open("xb"))

    def write(self, content: bytes) -> None:
        with named_failures("written", self.key):
            self._file.write(content)

    def finish(self) -> Path:
        """Make the bytes durable and return where they are."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return self._temporary

    def close(self) -> None:
        with named_failures("written", self.key):
            self.finish().replace(self._target)
            _sync_folder(self._target.parent)

    def discard(self) -> None:
        with named_failures("discarded", self.key):
            self._file.close()
            self._temporary.unlink(missing_ok=True)


def _size_bytes(path: Path) -> int | None:
    """Return a file's size; None for what is no file, or was removed since it was listed."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _in_folder(folder: Path, action: Callable[[], _Made]) -> _Made:
    """Do something in a folder that is made first; once more if another run removed the empty folder in between."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return action()
    except FileNotFoundError:
        folder.mkdir(parents=True, exist_ok=True)
        return action()


def _sync_folder(folder: Path) -> None:
    """Make a rename durable: the folder's own entry must reach the disk too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
