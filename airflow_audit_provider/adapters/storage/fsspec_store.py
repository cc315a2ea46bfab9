"""Object store over fsspec: S3, GCS, Azure and every other file system that fsspec supports.

Invariant: under a final key there is a complete object or none. ``with fs.open(path, "wb")`` is not used, because
fsspec closes, and so publishes, the truncated object if the block raises.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import fsspec
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from airflow_audit_provider.adapters.clock import SystemClock
from airflow_audit_provider.adapters.storage.bounded_calls import find_at_most, read_beginning, read_known
from airflow_audit_provider.adapters.storage.errors import status_of, translate_storage_errors
from airflow_audit_provider.adapters.storage.libraries import require_store_library, store_remedy
from airflow_audit_provider.adapters.storage.local_store import LocalStore
from airflow_audit_provider.adapters.storage.object_lock import S3ObjectLocks, is_s3, send_crc32_in_headers
from airflow_audit_provider.adapters.storage.obstacles import check_key
from airflow_audit_provider.adapters.storage.read_bounds import ReadBounds, ReadMeter
from airflow_audit_provider.adapters.storage.s3_calls import S3Calls
from airflow_audit_provider.adapters.storage.uris import check_no_connection_id, check_path, split_uri
from airflow_audit_provider.core.ports import Clock, ListedObject, ObjectLockReader, StagedObject, Store
from airflow_audit_provider.exceptions import ConfigurationError, StorageError, StorageUnavailableError

__all__ = [
    "FsspecStore",
    "LocalStore",
    "await_azure_copy",
    "local_file_system",
    "object_locks_of",
    "require_object_locks",
    "store_from_filesystem",
    "store_from_uri",
]

# A copy within one account usually completes at once; a part has at most a few hundred megabytes.
_COPY_TIMEOUT_SECONDS = 300.0
_COPY_POLL_SECONDS = 0.5
# S3's API reference: "5 MB is the minimum part size"; a smaller object needs no multipart upload of three requests.
_ONE_PUT_BYTES = 5 << 20
# The requests wait for the network; s3fs keeps ten connections.
_CONCURRENT_CALLS = 8
_Result = TypeVar("_Result")
# Google's interface for S3 clients, for one, has no DeleteObjects.
_UNKNOWN_REQUEST_STATUSES = (400, 405, 501)
# S3: 404 NoSuchUpload. GCS: 404 or 410 for the session of an upload that has ended.
_ENDED_UPLOAD_STATUSES = (404, 410)


def store_from_uri(uri: str) -> FsspecStore | LocalStore:
    """Returns the store at a URI or a local folder; raises ``ConfigurationError`` if it cannot be opened.

    A local folder without a scheme may have any name, because it is no URI.
    """
    if "://" not in uri:
        return LocalStore(str(Path(uri).expanduser().absolute()))
    require_store_library(uri)
    parts = split_uri(uri)
    check_no_connection_id(uri)
    try:
        fs, root = fsspec.core.url_to_fs(f"{parts.scheme}://{parts.netloc}{parts.path}")
        check_path(uri, root)
    except (ValueError, ImportError) as error:
        raise ConfigurationError(f"The destination cannot be opened ({error}). {store_remedy(uri)}") from error
    return store_from_filesystem(fs, root)


def local_file_system() -> AbstractFileSystem:
    """Returns the file system of local paths."""
    return LocalFileSystem()


def store_from_filesystem(
    fs: AbstractFileSystem, root: str, bounds: ReadBounds | None = None
) -> FsspecStore | LocalStore:
    """Returns the store for an fsspec file system and a root path in it, which reads within bounds if it is given some.

    It raises ``ReadLimitExceededError`` then for what is beyond them.
    """
    protocols = (fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol
    return LocalStore(root, bounds) if "file" in protocols else FsspecStore(fs, root, bounds)


def object_locks_of(store: Store) -> ObjectLockReader | None:
    """Returns the reader of a store's object locks, None if the store has none."""
    find: Callable[[], ObjectLockReader | None] | None = getattr(store, "object_locks", None)
    return find() if find is not None else None


def require_object_locks(store: Store) -> ObjectLockReader:
    """Returns the reader of a store's object locks; raises ``ConfigurationError`` if it has none."""
    locks = object_locks_of(store)
    if locks is None or not locks.is_enabled():
        raise ConfigurationError(
            "The destination's store has no Object Lock, so the locks of its objects cannot be checked. "
            "Enable Object Lock on the S3 bucket. For another store, leave out the expected lock."
        )
    return locks


class FsspecStore:
    """Implements :class:`~airflow_audit_provider.core.ports.Store` on an fsspec file system, below ``root``."""

    def __init__(self, fs: AbstractFileSystem, root: str, bounds: ReadBounds | None = None) -> None:
        self._fs = fs
        self._meter = ReadMeter(bounds)
        self._root = root.rstrip("/")
        self._s3 = S3Calls(fs, self._root) if is_s3(fs) else None

    @property
    def is_remote(self) -> bool:
        """True: each request waits for a server."""
        return True

    def read(self, key: str) -> bytes | None:
        """Returns the object's content, None if it does not exist."""
        with translate_storage_errors("read", key):
            path = self._path(key)
            try:
                return self._content(key, path)
            except FileNotFoundError:
                return None

    def _content(self, key: str, path: str) -> bytes:
        most_bytes = self._meter.begin()
        if not self._meter.is_bounded:
            content: bytes = self._s3.read(path) if self._s3 else self._fs.cat_file(path)
        elif self._s3:
            content = read_beginning(self._fs, path, most_bytes)
        else:
            content = read_known(self._fs, path, key, self._meter, most_bytes)
        return self._meter.take(key, content)

    def list_keys(self, prefix: str) -> Iterator[str]:
        """Yields the keys below a prefix, freshly listed and sorted."""
        return (key for key, _ in self.list_sizes(prefix))

    def list_sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yields the keys below a prefix with their sizes in bytes, freshly listed and sorted by key."""
        return ((one.key, one.size_bytes) for one in self.list_objects(prefix))

    def list_objects(self, prefix: str) -> Iterator[ListedObject]:
        """Yields the same keys with their sizes, and on S3 with their entity tags, which are usually MD5 digests."""
        with translate_storage_errors("listed", prefix):
            path = self._path(prefix)
            if self._s3 and self._s3.can_list:
                found = sorted(self._meter.listing(self._s3.list_objects(prefix)))
            else:
                found = [ListedObject(*sized) for sized in self._found_sizes(prefix, path)]
        yield from found

    def list_neighbours(self, prefixes: Sequence[str]) -> Iterator[str]:
        """Yields the keys below several prefixes: by one listing on S3, by one for each prefix elsewhere."""
        if not (self._s3 and self._s3.can_list):
            for keys in self.gather([partial(self._listed, prefix) for prefix in prefixes]):
                yield from keys
            return
        with translate_storage_errors("listed", prefixes[0]):
            for prefix in prefixes:
                check_key(prefix)
            keys = sorted(self._meter.listing(self._s3.list_neighbours(prefixes)))
        yield from keys

    def _listed(self, prefix: str) -> list[str]:
        return list(self.list_keys(prefix))

    def present(self, names: Collection[str]) -> dict[str, str | None]:
        """Returns which of these names exist: by one listing on S3; elsewhere all, because each would be asked for."""
        if not (self._s3 and self._s3.can_list):
            return dict.fromkeys(names)
        with translate_storage_errors("listed", ""):
            return self._s3.present(names)

    def _found_sizes(self, prefix: str, path: str) -> list[tuple[str, int]]:
        self._fs.invalidate_cache()
        found = find_at_most(self._fs, path, self._meter.left_to_list()) if self._meter.is_bounded else None
        found = dict(self._meter.listing((self._find(path) if found is None else found).items()))
        # Some file systems return paths without their leading slash.
        root = self._root.strip("/") + "/"
        # s3fs returns the folder itself if it finds no object but the server lists the prefix, as moto does if each
        # object is behind a delete marker.
        files = ((path, entry) for path, entry in found.items() if entry.get("type") != "directory")
        keys = ((path.lstrip("/").removeprefix(root), entry) for path, entry in files)
        # If an object has the name of the requested folder, some file systems return that object.
        return sorted((key, int(entry["size"])) for key, entry in keys if key.startswith(prefix))

    def list_folders(self, prefix: str) -> list[str]:
        """Returns the names of the folders directly below a prefix, freshly listed and sorted."""
        with translate_storage_errors("listed", prefix):
            self._fs.invalidate_cache()
            try:
                found = self._fs.ls(self._path(prefix), detail=True)
            except FileNotFoundError:
                return []
        # If an object has the name of the requested folder, it is the only entry.
        found = self._meter.listing(found)
        names = (entry["name"].rstrip("/") for entry in found if entry.get("type") == "directory")
        folder = self._path(prefix).strip("/")
        return sorted({name.rpartition("/")[2] for name in names if name.strip("/") != folder})

    def stage(self, key: str) -> StagedObject:
        """Opens an object for writing; nothing is visible under the key before ``close``."""
        with self._uploading("written", key):
            file = self._fs.open(self._path(key), "wb", autocommit=False)
            return _FsspecStagedObject(file, key, self._size_of, _ONE_PUT_BYTES if self._s3 else 0)

    def publish(self, staged_key: str, key: str) -> None:
        """Copies a staged object to its final key on the server; idempotent."""
        with self._uploading("published", key):
            self._fs.invalidate_cache()
            try:
                self._copy(staged_key, key)
            except FileNotFoundError:
                if not self._exists(key):
                    raise
            else:
                await_azure_copy(self._fs, self._path(key))

    def create(self, key: str, content: bytes) -> bool:
        """Writes a small object in one conditional operation; returns whether this call created it.

        Also returns False if the store took the bytes, its response was lost and the library retried: read the key
        then.
        """
        with self._uploading("created", key):
            try:
                self._fs.pipe_file(self._path(key), content, mode="create")
            except FileExistsError:
                return False
            except Exception as error:
                # S3 answers 409 if another conditional write of the key is in progress. If the key exists now, that
                # write was first.
                if status_of(error) == 409 and self._exists(key):
                    return False
                raise
            return True

    def remove(self, keys: Iterable[str]) -> None:
        """Removes objects; a missing object is not an error.

        In a versioned bucket this hides them. S3's API reference on DeleteObject without a version id: "If bucket
        versioning is enabled, the operation inserts a delete marker, which becomes the current version of the object".
        It succeeds for a locked object, too, and the bytes stay.
        """
        removed = list(keys)
        for key in removed:
            self._path(key)
        if self._s3 and len(removed) > 1:
            with translate_storage_errors("removed", removed[0]):
                if self._removed_together(self._s3, removed):
                    return
        self.gather([partial(self._remove, key) for key in removed])

    def _removed_together(self, s3: S3Calls, keys: list[str]) -> bool:
        """Removes objects by as few requests as possible; returns False for a server that has no such request."""
        try:
            s3.remove(keys)
        except OSError as error:
            if status_of(error) not in _UNKNOWN_REQUEST_STATUSES:
                raise
            return False
        return True

    def _remove(self, key: str) -> None:
        with translate_storage_errors("removed", key), suppress(FileNotFoundError):
            self._fs.rm_file(self._path(key))

    def put(self, key: str, content: bytes) -> bool:
        """Writes a small object in one operation; only S3 returns a digest that confirms its bytes."""
        with self._uploading("written", key):
            path = self._path(key)
            if self._s3:
                return self._s3.put(key, content)
            self._fs.pipe_file(path, content)
            return False

    def gather(self, calls: Sequence[Callable[[], _Result]]) -> list[_Result]:
        """Makes calls side by side, at most eight at a time: fsspec runs them in one event loop of its own."""
        if len(calls) < 2:
            return [call() for call in calls]
        with ThreadPoolExecutor(min(len(calls), _CONCURRENT_CALLS)) as threads:
            return list(threads.map(lambda call: call(), calls))

    @contextmanager
    def _uploading(self, action: str, key: str) -> Iterator[None]:
        with translate_storage_errors(action, key):
            if is_s3(self._fs):
                send_crc32_in_headers(self._fs)
            yield

    def _copy(self, staged_key: str, key: str) -> None:
        """Copies an object on the server; uploads it again if an S3 server with Object Lock refuses the copy.

        S3's API reference asks uploads with a retention period for one of two headers (PutObject: "The Content-MD5 or
        x-amz-sdk-checksum-algorithm header is required for any request to upload an object with a retention period
        configured using Amazon S3 Object Lock") and has neither for CopyObject, which has no body. Some servers ask
        copies, too: moto 5.2 answers 400 MissingUploadObjectWithObjectLockHeaders. An upload has the headers, and
        appears as a whole, like a copy.
        """
        source, target = self._path(staged_key), self._path(key)
        if not self._s3:
            self._fs.cp_file(source, target)
            return
        try:
            self._s3.copy(staged_key, key)
        except OSError as error:
            if status_of(error) != 400:
                raise
            self._s3.put(key, self._s3.read(source))

    def _find(self, path: str) -> dict[str, dict[str, Any]]:
        folder, begin = path.rstrip("/"), ""
        try:
            found = self._fs.find(path, detail=True)
            # adlfs returns a list without details if an object has the name of the folder; the parent lists normally.
            while not isinstance(found, dict):
                folder, _, name = folder.rpartition("/")
                begin = f"{name}/{begin}" if begin else name
                found = self._fs.find(folder, prefix=begin, detail=True)
        except FileNotFoundError:
            return {}
        return found

    def object_locks(self) -> ObjectLockReader | None:
        """Returns the reader of the objects' locks, None if the store is not S3."""
        return S3ObjectLocks(self._fs, self._path) if is_s3(self._fs) else None

    def _size_of(self, key: str) -> int | None:
        """Returns the size of an object in bytes, None if it does not exist."""
        self._fs.invalidate_cache()
        try:
            return int(self._fs.info(self._path(key))["size"])
        except FileNotFoundError:
            return None

    def _exists(self, key: str) -> bool:
        self._fs.invalidate_cache()
        return bool(self._fs.exists(self._path(key)))

    def _path(self, key: str) -> str:
        check_key(key)
        path = f"{self._root}/{key}"
        # A library that parses a path as a URL (adlfs: "?" and "#") would silently write to another path.
        if self._fs._strip_protocol(path).strip("/") != path.strip("/"):  # noqa: SLF001 - fsspec's own classes call it on each other
            raise StorageError(
                f"The library of this store cannot represent the path {path!r}. Use a destination without ? and #.",
                key=key,
            )
        return path


class _FsspecStagedObject:
    """An upload that becomes an object only when it is closed."""

    def __init__(self, file: Any, key: str, size_of: Callable[[str], int | None], one_put_bytes: int) -> None:
        self.key = key
        self._one_put_bytes = one_put_bytes
        self._file = file
        self._size_of = size_of
        self._size_bytes = 0
        self._is_complete = False

    def write(self, content: bytes) -> None:
        with translate_storage_errors("written", self.key):
            self._file.write(content)
            self._size_bytes += len(content)

    def close(self) -> None:
        with translate_storage_errors("written", self.key):
            # s3fs uploads by one request if it may commit on closing, and has sent nothing yet.
            self._file.autocommit = self._size_bytes < self._one_put_bytes
            self._file.close()
            try:
                if not self._file.autocommit:
                    self._file.commit()
            except Exception as error:
                if status_of(error) not in _ENDED_UPLOAD_STATUSES:
                    raise
                self._check_completed(error)
            self._is_complete = True

    def _check_completed(self, error: Exception) -> None:
        """Raises ``StorageUnavailableError`` unless the object exists with its size, although the upload has ended.

        A library repeats the completion of an upload if its response was lost. S3 then answers 404 NoSuchUpload: "the
        upload ID might be invalid, or the multipart upload might have been aborted or completed". No other attempt
        writes this key, so an object there with the right size is the completed one. Its digest is checked later.
        """
        if self._size_of(self.key) != self._size_bytes:
            raise StorageUnavailableError(
                f"The upload of {self.key!r} ended before it was complete ({type(error).__name__}: {error}). Check "
                "that the bucket exists and that nothing aborts its uploads, such as a lifecycle rule, then run the "
                "window again.",
                key=self.key,
            ) from error

    def discard(self) -> None:
        if self._is_complete:
            return
        with translate_storage_errors("discarded", self.key):
            try:
                self._file.discard()
            finally:
                self._mark_closed()

    def _mark_closed(self) -> None:
        """Keeps fsspec from closing, and on some stores committing, the truncated object on garbage collection."""
        self._file.closed = True

    def __del__(self) -> None:
        if not self._is_complete:
            self._mark_closed()


def await_azure_copy(fs: Any, path: str, clock: Clock | None = None) -> None:
    """Waits until the server-side copy to the blob at ``path`` is complete; returns at once on other stores.

    Azure answers *Copy Blob* before the copy is complete (``x-ms-copy-status: pending``). Raises
    ``StorageUnavailableError`` if the copy fails, is aborted, or takes longer than five minutes.
    """
    service = getattr(fs, "service_client", None)
    if service is None:
        return
    clock = clock or SystemClock()
    deadline = clock.monotonic() + _COPY_TIMEOUT_SECONDS
    while (status := _copy_status(fs, service, path)) == "pending" and clock.monotonic() < deadline:
        clock.sleep(_COPY_POLL_SECONDS)
    if status not in {None, "success"}:
        raise StorageUnavailableError(
            f"The Azure copy to {path!r} has the status {status}. Nothing was removed. Run the window again.", key=path
        )


def _copy_status(fs: Any, service: Any, path: str) -> str | None:
    container, _, blob = path.lstrip("/").partition("/")

    async def read_status() -> str | None:
        async with service.get_blob_client(container=container, blob=blob) as client:
            status: str | None = (await client.get_blob_properties()).copy.status
            return status

    return asyncio.run_coroutine_threadsafe(read_status(), fs.loop).result()
