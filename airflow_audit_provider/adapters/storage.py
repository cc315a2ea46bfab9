"""Object storage through fsspec: one destination of any store that fsspec knows, and local files with fsync.

Knows: fsspec's file systems. Must not know: Airflow, what the objects mean.
Its one rule: under a final key there is a whole object or none. An exception never leaves one half-written:
fsspec's own ``with fs.open(path, "wb")`` would publish the truncated object, so it is never used.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

from fsspec import AbstractFileSystem

from airflow_audit_provider.core.ports import StagedObject
from airflow_audit_provider.exceptions import StorageError, StorageUnavailableError


@contextmanager
def _named_failures(action: str, key: str) -> Iterator[None]:
    """Turn what a store raises into the named error, with the key and the remedy."""
    try:
        yield
    except StorageError:
        raise
    except (PermissionError, FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise StorageError(
            f"The destination does not let {key!r} be {action} ({type(error).__name__}: {error}). "
            "Check that the bucket or folder exists and that the connection or the worker's user may write there.",
            key=key,
        ) from error
    except (TypeError, ValueError) as error:
        raise StorageError(
            f"{key!r} could not be {action} ({type(error).__name__}: {error}). "
            "Check the destination's spelling and the settings of its connection.",
            key=key,
        ) from error
    except Exception as error:
        raise StorageUnavailableError(
            f"{key!r} could not be {action} ({type(error).__name__}: {error}). "
            "Check that the store is reachable and has room, then run the window again.",
            key=key,
        ) from error


class FsspecStore:
    """Satisfies :class:`~airflow_audit_provider.core.ports.Store` over any fsspec file system, below ``root``."""

    def __init__(self, fs: AbstractFileSystem, root: str) -> None:
        self._fs = fs
        self._root = root.rstrip("/")

    def read(self, key: str) -> bytes | None:
        """Return the whole object, or None when there is none."""
        with _named_failures("read", key):
            try:
                content: bytes = self._fs.cat_file(self._path(key))
            except FileNotFoundError:
                return None
            return content

    def list_keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys below a prefix, freshly listed and sorted."""
        return (key for key, _ in self.list_sizes(prefix))

    def list_sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yield the keys below a prefix with their sizes in bytes, freshly listed and sorted by key."""
        with _named_failures("listed", prefix):
            self._fs.invalidate_cache()
            try:
                found: dict[str, dict[str, Any]] = self._fs.find(self._path(prefix.rstrip("/")), detail=True)
            except FileNotFoundError:
                return
        # Some stores answer without the leading slash their own paths have, or with their protocol's marker.
        root = self._root.strip("/") + "/"
        yield from sorted((path.lstrip("/").removeprefix(root), int(entry["size"])) for path, entry in found.items())

    def stage(self, key: str) -> StagedObject:
        """Open an object for writing; nothing is visible under the key before ``close``."""
        with _named_failures("written", key):
            return _FsspecStagedObject(self._fs.open(self._path(key), "wb", autocommit=False), key)

    def publish(self, staged_key: str, key: str) -> None:
        """Copy a staged object to its final key on the server, then remove the staged one; idempotent."""
        with _named_failures("published", key):
            if not self._fs.exists(self._path(staged_key)) and self._fs.exists(self._path(key)):
                return
            self._fs.cp_file(self._path(staged_key), self._path(key))
            self._fs.rm_file(self._path(staged_key))

    def create(self, key: str, content: bytes) -> bool:
        """Write a small object in one operation unless it exists; return whether this call created it."""
        with _named_failures("created", key):
            try:
                self._fs.pipe_file(self._path(key), content, mode="create")
            except FileExistsError:
                return False
            return True

    def remove(self, keys: Iterable[str]) -> None:
        """Remove objects; one that is already gone is no error."""
        for key in keys:
            with _named_failures("removed", key):
                try:
                    self._fs.rm_file(self._path(key))
                except FileNotFoundError:
                    continue

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"


class _FsspecStagedObject:
    """An upload that becomes an object only when it is closed."""

    def __init__(self, file: Any, key: str) -> None:
        self.key = key
        self._file = file
        self._is_whole = False

    def write(self, content: bytes) -> None:
        with _named_failures("written", self.key):
            self._file.write(content)

    def close(self) -> None:
        with _named_failures("written", self.key):
            self._file.close()
            self._file.commit()
            self._is_whole = True

    def discard(self) -> None:
        if not self._is_whole:
            with _named_failures("discarded", self.key):
                self._file.discard()


class LocalStore:
    """Satisfies :class:`~airflow_audit_provider.core.ports.Store` with files below a folder: fsync, then rename."""

    def __init__(self, root: str) -> None:
        self._root = Path(root)

    def read(self, key: str) -> bytes | None:
        """Return the whole file, or None when there is none."""
        with _named_failures("read", key):
            try:
                return (self._root / key).read_bytes()
            except FileNotFoundError:
                return None

    def list_keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys below a prefix, sorted; files being written are not among them."""
        return (key for key, _ in self.list_sizes(prefix))

    def list_sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yield the keys below a prefix with their sizes in bytes, sorted by key; no files being written."""
        with _named_failures("listed", prefix):
            paths = [path for path in (self._root / prefix).rglob("*") if not path.name.endswith(_UNFINISHED)]
            sized = [(path.relative_to(self._root).as_posix(), _size_bytes(path)) for path in paths]
        yield from sorted((key, size_bytes) for key, size_bytes in sized if size_bytes is not None)

    def stage(self, key: str) -> StagedObject:
        """Open a file for writing under a name no reader takes."""
        with _named_failures("written", key):
            return _LocalStagedObject(self._root / key, key)

    def publish(self, staged_key: str, key: str) -> None:
        """Rename a staged file to its final name; idempotent."""
        with _named_failures("published", key):
            target = self._root / key
            _make_folder(target.parent)
            try:
                (self._root / staged_key).replace(target)
            except FileNotFoundError:
                if not target.exists():
                    raise
            _sync_folder(target.parent)

    def create(self, key: str, content: bytes) -> bool:
        """Write a small file whole unless its name exists; return whether this call created it."""
        with _named_failures("created", key):
            staged = _LocalStagedObject(self._root / key, key)
            try:
                staged.write(content)
                # A hard link fails where a rename would overwrite: the commit is create-only.
                os.link(staged.finish(), self._root / key)
                _sync_folder((self._root / key).parent)
            except FileExistsError:
                return False
            finally:
                staged.discard()
            return True

    def remove(self, keys: Iterable[str]) -> None:
        """Remove files, and folders that become empty by it; one that is already gone is no error."""
        for key in keys:
            with _named_failures("removed", key):
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
        _make_folder(target.parent)
        self._temporary = target.with_name(f".{target.name}.{uuid4().hex}{_UNFINISHED}")
        self._file: BinaryIO = self._temporary.open("xb")

    def write(self, content: bytes) -> None:
        with _named_failures("written", self.key):
            self._file.write(content)

    def finish(self) -> Path:
        """Make the bytes durable and return where they are."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return self._temporary

    def close(self) -> None:
        with _named_failures("written", self.key):
            self.finish().replace(self._target)
            _sync_folder(self._target.parent)

    def discard(self) -> None:
        with _named_failures("discarded", self.key):
            self._file.close()
            self._temporary.unlink(missing_ok=True)


def _size_bytes(path: Path) -> int | None:
    """Return a file's size; None for what is no file, or was removed since it was listed."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _make_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make a rename durable: the folder's own entry must reach the disk too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_store(fs: AbstractFileSystem, root: str) -> FsspecStore | LocalStore:
    """Return the store for an fsspec file system and a root path in it."""
    protocols = (fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol
    return LocalStore(root) if "file" in protocols else FsspecStore(fs, root)
