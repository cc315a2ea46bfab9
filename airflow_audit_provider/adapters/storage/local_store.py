"""Object store on the local file system: each file is written, fsynced, then renamed or linked into place.

Invariant: under a final name there is a complete file or none, also after a power failure.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO, TypeVar
from uuid import uuid4

from airflow_audit_provider.adapters.clock import SystemClock
from airflow_audit_provider.adapters.storage.errors import translate_storage_errors
from airflow_audit_provider.adapters.storage.obstacles import DEAD_LINK, check_key, check_no_obstacle, obstacle_error
from airflow_audit_provider.adapters.storage.read_bounds import ReadBounds, ReadMeter
from airflow_audit_provider.core.archive.object_keys import UNFINISHED_FOLDER, unfinished_key
from airflow_audit_provider.core.ports import ListedObject, StagedObject

# At the end of a folder's path: without it, a folder would be listed whose files cannot be opened (permission r without
# x).
_REQUIRES_X = "."
_Result = TypeVar("_Result")
# How often a folder may be removed by another run between its creation and its first file.
_MAX_REMOVALS = 5


class LocalStore:
    """Implements :class:`~airflow_audit_provider.core.ports.Store` with files below a folder."""

    def __init__(self, root: str, bounds: ReadBounds | None = None) -> None:
        self._root = Path(root)
        self._meter = ReadMeter(bounds)

    @property
    def is_remote(self) -> bool:
        """False, although the folder may be mounted over a network."""
        return False

    def read(self, key: str) -> bytes | None:
        """Returns the file's content, None if it does not exist."""
        with _at(self._root, key, "read") as path:
            try:
                if not stat.S_ISREG(path.stat().st_mode):
                    # Opening a named pipe would wait for its writer.
                    raise IsADirectoryError(errno.EISDIR, "Not a regular file", str(path))
                return self._content(key, path)
            except FileNotFoundError:
                # A link that leads nowhere is found by this, too, but it is not a missing file.
                check_no_obstacle(self._root, key, "read")
                return None

    def _content(self, key: str, path: Path) -> bytes:
        most_bytes = self._meter.begin()
        if not self._meter.is_bounded:
            return path.read_bytes()
        with path.open("rb") as file:
            return self._meter.take(key, file.read(most_bytes))

    def list_keys(self, prefix: str) -> Iterator[str]:
        """Yields the keys below a prefix, sorted; files that are being written have keys of their own in staging."""
        with translate_storage_errors("listed", prefix):
            check_key(prefix)
            # The system states with a name that it is a file; asking for the size would take most of the time.
            found = [
                key
                for key, entry in _files(self._root, prefix, self._meter)
                if entry.is_file(follow_symlinks=False) or _size_bytes(entry) is not None
            ]
        yield from sorted(found)

    def list_sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yields the keys below a prefix with their sizes in bytes, sorted by key.

        A link to a folder counts as a key.
        """
        with translate_storage_errors("listed", prefix):
            check_key(prefix)
            sized = [(key, _size_bytes(entry)) for key, entry in _files(self._root, prefix, self._meter)]
        # Without ``key=``, pairs are compared, which takes twice as long.
        sized.sort(key=itemgetter(0))
        yield from ((key, size_bytes) for key, size_bytes in sized if size_bytes is not None)

    def list_objects(self, prefix: str) -> Iterator[ListedObject]:
        """Yields the same keys with their sizes; a file system states no digests."""
        return (ListedObject(key, size_bytes) for key, size_bytes in self.list_sizes(prefix))

    def list_folders(self, prefix: str) -> list[str]:
        """Returns the names of the folders directly below a prefix, sorted."""
        with translate_storage_errors("listed", prefix):
            check_key(prefix)
            entries = _entries(f"{self._root}/{prefix}", self._meter)
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))

    def list_neighbours(self, prefixes: Sequence[str]) -> Iterator[str]:
        """Yields the keys below several prefixes, folder by folder."""
        for prefix in prefixes:
            yield from self.list_keys(prefix)

    def present(self, names: Collection[str]) -> dict[str, str | None]:
        """Returns which of these names exist; a file system states no digests."""
        with translate_storage_errors("listed", ""):
            return {name: None for name in names if os.path.lexists(self._root / name)}

    def stage(self, key: str) -> StagedObject:
        """Opens a file for writing under a name that no reader uses."""
        with _at(self._root, key, "written"):
            return _LocalStagedObject(self._root, key, self._unfinished())

    def publish(self, staged_key: str, key: str) -> None:
        """Links a staged file to its final name; idempotent."""
        check_key(staged_key)
        with _at(self._root, key, "published") as target:
            linked = self._unfinished()
            try:
                _in_folder(linked.parent, lambda: os.link(self._root / staged_key, linked))
                _in_folder(target.parent, lambda: linked.replace(target))
            except FileNotFoundError:
                if not target.is_file():
                    raise
            finally:
                # rename(2) does nothing if both names are links to the same file, so the extra name is removed here.
                linked.unlink(missing_ok=True)
            _sync_folder(target.parent)

    def create(self, key: str, content: bytes) -> bool:
        """Writes a small file unless its name exists; returns whether this call created it.

        Raises ``StorageError`` if the name exists but is no file: no run could ever commit under it.
        """
        with _at(self._root, key, "created") as target:
            staged = _LocalStagedObject(self._root, key, self._unfinished())
            try:
                staged.write(content)
                written = staged.finish()
                # link(2) fails if the name exists, where rename(2) would overwrite: the commit must be create-only.
                _in_folder(target.parent, lambda: os.link(written, target))
                _sync_folder(target.parent)
            except FileExistsError:
                check_no_obstacle(self._root, key, "created")
                return False
            finally:
                staged.discard()
            return True

    def put(self, key: str, content: bytes) -> bool:
        """Writes a small file and renames it into place; returns False, because the system confirms no digest."""
        staged = self.stage(key)
        try:
            staged.write(content)
            staged.close()
        finally:
            staged.discard()
        return False

    def gather(self, calls: Sequence[Callable[[], _Result]]) -> list[_Result]:
        """Makes the calls one after the other: a local disk has no latency to wait for side by side."""
        return [call() for call in calls]

    def _unfinished(self) -> Path:
        """Returns a new path in staging whose name contains its creation time, so that a sweep can judge its age."""
        return self._root / unfinished_key(SystemClock().now(), uuid4().hex)

    def remove(self, keys: Iterable[str]) -> None:
        """Removes files and the folders that become empty; a missing file is not an error."""
        for key in keys:
            with _at(self._root, key, "removed") as path:
                path.unlink(missing_ok=True)
                _prune(path.parent, self._root)
        # Not after each written file: concurrent runs would remove the folder that another one is about to use.
        _prune(self._root / UNFINISHED_FOLDER, self._root)


class _LocalStagedObject:
    """A file under a temporary name until it is complete."""

    def __init__(self, root: Path, key: str, temporary: Path) -> None:
        self.key = key
        self._root = root
        self._temporary = temporary
        self._file: BinaryIO = _in_folder(temporary.parent, lambda: temporary.open("xb"))

    def write(self, content: bytes) -> None:
        with translate_storage_errors("written", self.key):
            self._file.write(content)

    def finish(self) -> Path:
        """Makes the bytes durable and returns their path."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return self._temporary

    def close(self) -> None:
        with _at(self._root, self.key, "written") as target:
            written = self.finish()
            _in_folder(target.parent, lambda: written.replace(target))
            _sync_folder(target.parent)

    def discard(self) -> None:
        with translate_storage_errors("discarded", self.key):
            self._file.close()
            self._temporary.unlink(missing_ok=True)


@contextmanager
def _at(root: Path, key: str, action: str) -> Iterator[Path]:
    """Yields the path of a key; an error names what is in the way of it or of the files that are being written."""
    with translate_storage_errors(action, key):
        check_key(key)
        try:
            yield root / key
        except OSError:
            check_no_obstacle(root, key, action)
            check_no_obstacle(root, f"{UNFINISHED_FOLDER}file", action)
            raise


def _files(root: Path, prefix: str, meter: ReadMeter) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yields everything below a folder except folders, with its key, in any order.

    Keys and paths are joined as text: a ``Path`` for each of them costs several times as much as listing it. Most
    folders have one part, so calling ``_entries`` for each would take a twentieth longer.
    """
    start, base = (root / prefix).relative_to(root).as_posix(), f"{root}/"
    folders = ["" if start == "." else f"{start}/"]
    while folders:
        folder = folders.pop()
        try:
            entries = os.scandir(f"{base}{folder}{_REQUIRES_X}")
        except (FileNotFoundError, NotADirectoryError):
            continue
        try:
            for entry in meter.listing(entries):
                if entry.is_dir(follow_symlinks=False):
                    folders.append(f"{folder}{entry.name}/")
                else:
                    yield f"{folder}{entry.name}", entry
        except BaseException:
            # An iterator that reached its end has closed itself. With ``with``, a listing takes 3 % longer.
            entries.close()
            raise


def _entries(folder: str, meter: ReadMeter) -> list[os.DirEntry[str]]:
    """Returns what a folder contains; nothing if it was removed or is no folder."""
    try:
        entries = os.scandir(f"{folder}{_REQUIRES_X}")
    except (FileNotFoundError, NotADirectoryError):
        return []
    with entries:
        return list(meter.listing(entries))


def _size_bytes(entry: os.DirEntry[str]) -> int | None:
    """Returns a file's size, 0 for a link that leads to no file, None for a file removed since it was listed."""
    try:
        status = entry.stat()
    except FileNotFoundError:
        return None if not Path(entry).is_symlink() else 0
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise obstacle_error(Path(entry), entry.name, "listed", DEAD_LINK) from error
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


def _prune(folder: Path, root: Path) -> None:
    """Removes a folder and its parents below ``root``, as far as they are empty."""
    while folder != root and folder.is_relative_to(root):
        try:
            folder.rmdir()
        except OSError:
            # The folder is not empty, or another run removed it first.
            return
        folder = folder.parent


def _in_folder(folder: Path, action: Callable[[], _Result]) -> _Result:
    """Creates a folder and runs an action in it; repeats both if another run removes the empty folder in between."""
    for _ in range(_MAX_REMOVALS):
        with suppress(FileNotFoundError):
            _make_folder(folder)
            return action()
    _make_folder(folder)
    return action()


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        # mkdir saw the folder, but another run removed it before the check: the caller retries.
        if folder.exists():
            raise
        raise FileNotFoundError(folder) from None


def _sync_folder(folder: Path) -> None:
    """Makes a rename durable: fsync(2) of a file does not cover the entry in its directory."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
