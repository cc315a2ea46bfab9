"""Object storage through fsspec: one destination of any store that fsspec knows.

Knows: fsspec's file systems and where they break their word. Must not know: Airflow, what the objects mean.
Its one rule: under a final key there is a whole object or none. An exception never leaves one half-written:
fsspec's own ``with fs.open(path, "wb")`` would publish the truncated object, so it is never used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

import fsspec
from fsspec import AbstractFileSystem

from airflow_audit_provider.adapters.clock import SystemClock
from airflow_audit_provider.adapters.storage.errors import status_of, translate_storage_errors
from airflow_audit_provider.adapters.storage.local_store import LocalStore
from airflow_audit_provider.core.ports import Clock, StagedObject
from airflow_audit_provider.exceptions import ConfigurationError, StorageError, StorageUnavailableError


def store_from_uri(uri: str) -> FsspecStore | LocalStore:
    """Return the store at a URI or a local folder; raise ``ConfigurationError`` for one that cannot be opened."""
    try:
        fs, root = fsspec.core.url_to_fs(uri)
    except (ValueError, ImportError) as error:
        raise ConfigurationError(
            f"The destination cannot be opened ({error}). Check its scheme, and install the fsspec library of that "
            "store, such as s3fs, gcsfs or adlfs."
        ) from error
    return store_from_filesystem(fs, root)


# Inside one account a copy is nearly always done at once; a part is at most some hundred megabytes.
_PATIENCE_SECONDS = 300.0
_PAUSE_SECONDS = 0.5


def await_azure_copy(fs: Any, path: str, clock: Clock | None = None) -> None:
    """Wait until the copy that made the blob at ``path`` is done; nothing to wait for on another store.

    Raises ``StorageUnavailableError`` for a copy that failed, was aborted, or takes longer than five minutes.
    """
    service = getattr(fs, "service_client", None)
    if service is None:
        return
    clock = clock or SystemClock()
    give_up_at = clock.monotonic() + _PATIENCE_SECONDS
    while (status := _copy_status(fs, service, path)) == "pending" and clock.monotonic() < give_up_at:
        clock.sleep(_PAUSE_SECONDS)
    if status not in {None, "success"}:
        raise StorageUnavailableError(
            f"Azure's copy to {path!r} is {status}. Nothing was removed; run the window again.", key=path
        )


def _copy_status(fs: Any, service: Any, path: str) -> str | None:
    container, _, blob = path.lstrip("/").partition("/")

    async def ask() -> str | None:
        async with service.get_blob_client(container=container, blob=blob) as client:
            status: str | None = (await client.get_blob_properties()).copy.status
            return status

    return asyncio.run_coroutine_threadsafe(ask(), fs.loop).result()


__all__ = ["FsspecStore", "LocalStore", "store_from_filesystem"]


class FsspecStore:
    """Satisfies :class:`~airflow_audit_provider.core.ports.Store` over any fsspec file system, below ``root``."""

    def __init__(self, fs: AbstractFileSystem, root: str) -> None:
        self._fs = fs
        self._root = root.rstrip("/")

    def read(self, key: str) -> bytes | None:
        """Return the whole object, or None when there is none."""
        with translate_storage_errors("read", key):
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
        with translate_storage_errors("listed", prefix):
            self._fs.invalidate_cache()
            found = self._find(self._path(prefix))
        # Some stores answer without the leading slash their own paths have, or with their protocol's marker.
        root = self._root.strip("/") + "/"
        keys = ((path.lstrip("/").removeprefix(root), entry) for path, entry in found.items())
        # Where an object is named like the folder that was asked for, some answer with that object.
        yield from sorted((key, int(entry["size"])) for key, entry in keys if key.startswith(prefix))

    def stage(self, key: str) -> StagedObject:
        """Open an object for writing; nothing is visible under the key before ``close``."""
        with translate_storage_errors("written", key):
            return _FsspecStagedObject(self._fs.open(self._path(key), "wb", autocommit=False), key)

    def publish(self, staged_key: str, key: str) -> None:
        """Copy a staged object to its final key on the server; idempotent."""
        with translate_storage_errors("published", key):
            self._fs.invalidate_cache()
            try:
                self._fs.cp_file(self._path(staged_key), self._path(key))
            except FileNotFoundError:
                if not self._is_there(key):
                    raise
            else:
                await_azure_copy(self._fs, self._path(key))

    def create(self, key: str, content: bytes) -> bool:
        """Write a small object in one operation unless it exists; return whether this call created it.

        False also when the store took the bytes, its answer was lost and its library asked again: read the key then.
        """
        with translate_storage_errors("created", key):
            try:
                self._fs.pipe_file(self._path(key), content, mode="create")
            except FileExistsError:
                return False
            except Exception as error:
                # 409: another conditional write of this key was under way. If it has taken effect, it was first.
                if status_of(error) == 409 and self._is_there(key):
                    return False
                raise
            return True

    def remove(self, keys: Iterable[str]) -> None:
        """Remove objects; one that is already gone is no error."""
        for key in keys:
            with translate_storage_errors("removed", key), suppress(FileNotFoundError):
                self._fs.rm_file(self._path(key))

    def _find(self, path: str) -> dict[str, dict[str, Any]]:
        folder, begin = path.rstrip("/"), ""
        try:
            found = self._fs.find(path, detail=True)
            # adlfs answers with a bare list where an object is named like the folder; one level up it lists.
            while not isinstance(found, dict):
                folder, _, name = folder.rpartition("/")
                begin = f"{name}/{begin}" if begin else name
                found = self._fs.find(folder, prefix=begin, detail=True)
        except FileNotFoundError:
            return {}
        return found

    def _is_there(self, key: str) -> bool:
        self._fs.invalidate_cache()
        return bool(self._fs.exists(self._path(key)))

    def _path(self, key: str) -> str:
        path = f"{self._root}/{key}"
        # A library that reads a path as a URL (adlfs: "?" before "#") would put the object somewhere else, unseen.
        if self._fs._strip_protocol(path).strip("/") != path.strip("/"):  # noqa: SLF001 - how fsspec's parts ask each other
            raise StorageError(
                f"The library of this store cannot keep the name {path!r}. Take a destination without ? and #.", key=key
            )
        return path


class _FsspecStagedObject:
    """An upload that becomes an object only when it is closed."""

    def __init__(self, file: Any, key: str) -> None:
        self.key = key
        self._file = file
        self._is_whole = False

    def write(self, content: bytes) -> None:
        with translate_storage_errors("written", self.key):
            self._file.write(content)

    def close(self) -> None:
        with translate_storage_errors("written", self.key):
            self._file.close()
            self._file.commit()
            self._is_whole = True

    def discard(self) -> None:
        if self._is_whole:
            return
        with translate_storage_errors("discarded", self.key):
            try:
                self._file.discard()
            finally:
                self._forget()

    def _forget(self) -> None:
        """Keep fsspec from closing the file when it is collected: some would commit the truncated object then."""
        self._file.closed = True

    def __del__(self) -> None:
        if not self._is_whole:
            self._forget()


def store_from_filesystem(fs: AbstractFileSystem, root: str) -> FsspecStore | LocalStore:
    """Return the store for an fsspec file system and a root path in it."""
    protocols = (fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol
    return LocalStore(root) if "file" in protocols else FsspecStore(fs, root)
