"""Store of a dataset whose parts are in Security Lake: they are in the lake's bucket, all else is at the destination.

Keys that begin with ``ext/`` are the lake's. The lake's bucket is opened at the first of them; if the caller does not
know it, the dataset descriptor names it. A dataset in the ordinary layout has no such key, so this costs nothing there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import TypeVar

from airflow_audit_provider.adapters.storage.fsspec_store import object_locks_of, store_from_uri
from airflow_audit_provider.core.archive.dataset import Dataset, read_dataset
from airflow_audit_provider.core.archive.manifest import Manifest, read_manifest
from airflow_audit_provider.core.archive.object_keys import DATASET_KEY, MANIFEST_FOLDER, newest_manifests
from airflow_audit_provider.core.archive.security_lake import LAKE_FOLDER, SecurityLake
from airflow_audit_provider.core.ports import ListedObject, ObjectLock, ObjectLockReader, StagedObject, Store
from airflow_audit_provider.exceptions import (
    ConfigurationError,
    StorageError,
    StorageUnavailableError,
    VerificationError,
)

# URIs of the lakes' buckets, separated by commas.
LAKE_BUCKETS_VARIABLE = "CLOUDFLARE_AUDIT_LAKE_BUCKETS"
_Result = TypeVar("_Result")
OpenStore = Callable[[str], Store]


class LakeStore:
    """Implements :class:`~airflow_audit_provider.core.ports.Store` on a destination and a bucket of Security Lake.

    ``open_bucket`` opens the store at a URI; ``bucket`` is the URI if the caller knows it.
    """

    def __init__(self, home: Store, open_bucket: OpenStore, bucket: str | None = None) -> None:
        self.home = home
        self._open_bucket = open_bucket
        self._bucket = bucket
        self._lake: Store | None = None

    @property
    def is_remote(self) -> bool:
        """Whether the destination is remote, or the bucket of a lake is known."""
        return self.home.is_remote or self._bucket is not None or self._lake is not None

    def read(self, key: str) -> bytes | None:
        """Returns the whole object, None if it does not exist."""
        return self._of(key).read(key)

    def list_keys(self, prefix: str) -> Iterator[str]:
        """Yields the keys below a prefix; those of the lake only for a prefix in it."""
        return self._of(prefix).list_keys(prefix)

    def list_sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yields the same keys, each with its object's size in bytes."""
        return self._of(prefix).list_sizes(prefix)

    def list_objects(self, prefix: str) -> Iterator[ListedObject]:
        """Yields what a listing states about the same keys."""
        return self._of(prefix).list_objects(prefix)

    def list_folders(self, prefix: str) -> list[str]:
        """Returns the names of the folders directly below a prefix."""
        return self._of(prefix).list_folders(prefix)

    def list_neighbours(self, prefixes: Sequence[str]) -> Iterator[str]:
        """Yields the keys below several prefixes, which are those of manifests."""
        return self.home.list_neighbours(prefixes)

    def present(self, names: Collection[str]) -> Mapping[str, str | None]:
        """Returns which of these names at the destination's top level may exist."""
        return self.home.present(names)

    def stage(self, key: str) -> StagedObject:
        """Opens an object for writing; nothing is staged in the lake."""
        return self.home.stage(key)

    def publish(self, staged_key: str, key: str) -> None:
        """Copies a closed object to its final key; into the lake by one upload, which creates it whole."""
        if not key.startswith(LAKE_FOLDER):
            self.home.publish(staged_key, key)
            return
        content = self.home.read(staged_key)
        if content is None:
            raise StorageUnavailableError(
                f"The staged object {staged_key} is gone, so {key} cannot be published. Run the window again.", key=key
            )
        self._of(key).put(key, content)

    def create(self, key: str, content: bytes) -> bool:
        """Writes a small object unless it exists; returns whether this call created it."""
        return self._of(key).create(key, content)

    def put(self, key: str, content: bytes) -> bool:
        """Writes an object in one operation; returns whether the store has confirmed the digest of its bytes."""
        return self._of(key).put(key, content)

    def gather(self, calls: Sequence[Callable[[], _Result]]) -> list[_Result]:
        """Makes independent calls of this store and returns their results in order."""
        return self.home.gather(calls)

    def remove(self, keys: Iterable[str]) -> None:
        """Removes objects; a key that does not exist is ignored."""
        listed = list(keys)
        in_lake = [key for key in listed if key.startswith(LAKE_FOLDER)]
        if in_lake:
            self._of(in_lake[0]).remove(in_lake)
        self.home.remove([key for key in listed if not key.startswith(LAKE_FOLDER)])

    def object_locks(self) -> ObjectLockReader | None:
        """Returns the reader of locks in both places, None if the destination's store has none."""
        locks = object_locks_of(self.home)
        return _Locks(locks, lambda: self._of(LAKE_FOLDER)) if locks is not None else None

    def _of(self, key: str) -> Store:
        """Returns the store that has a key or a prefix."""
        if not key.startswith(LAKE_FOLDER):
            return self.home
        if self._lake is None:
            self._lake = self._open_bucket(self._bucket or self._named_bucket())
        return self._lake

    def _named_bucket(self) -> str:
        content = self.home.read(DATASET_KEY)
        layout = _layout_in(content, read_dataset) or self._layout_of_windows()
        if layout is None:
            state = "is missing" if content is None else "names no lake"
            raise StorageError(
                f"An object of Security Lake is needed, but the descriptor {DATASET_KEY} of the destination {state}. "
                "Restore it from a copy, or run the land operator with layout='security_lake' again.",
                key=DATASET_KEY,
            )
        _check_configured(layout.bucket)
        return layout.bucket

    def _layout_of_windows(self) -> SecurityLake | None:
        """Returns the lake that the newest intact manifest names, for a destination whose descriptor is damaged."""
        newest = newest_manifests(self.home.list_keys(MANIFEST_FOLDER))
        keys = (newest[window] for window in sorted(newest, reverse=True))
        layouts = (_layout_in(self.home.read(key), partial(read_manifest, key)) for key in keys)
        return next(filter(None, layouts), None)


def _layout_in(content: bytes | None, read: Callable[[bytes], Dataset | Manifest]) -> SecurityLake | None:
    """Returns the lake that an object names; one that is damaged names none, which verification reports."""
    try:
        return (read(content).layout or None) if content is not None else None
    except VerificationError:
        return None


def _check_configured(bucket: str) -> None:
    """Raises ``ConfigurationError`` if the environment names the buckets of lakes, and this one is not among them.

    Otherwise, everyone who can write the descriptor can choose the bucket that tasks and commands open.
    """
    configured = {one.strip().rstrip("/") for one in os.environ.get(LAKE_BUCKETS_VARIABLE, "").split(",")} - {""}
    if configured and bucket not in configured:
        raise ConfigurationError(
            f"The descriptor {DATASET_KEY} states that the parts are in the bucket {bucket!r}. The environment "
            f"variable {LAKE_BUCKETS_VARIABLE} does not list this bucket, so the bucket was not opened. If the bucket "
            "is yours, add it to the variable. If not, find out who changed the descriptor, and restore the descriptor "
            "from a copy."
        )


class _Locks:
    """Implements :class:`~airflow_audit_provider.core.ports.ObjectLockReader` on a destination and the lake."""

    def __init__(self, home: ObjectLockReader, open_lake: Callable[[], Store]) -> None:
        self._home = home
        self._open_lake = open_lake

    def is_enabled(self) -> bool:
        """Returns whether the destination's bucket has object locks."""
        return self._home.is_enabled()

    def read(self, keys: Iterable[str]) -> Iterator[tuple[str, ObjectLock]]:
        """Yields the keys with their locks; in a lake whose store has no object locks, no object has one."""
        for is_in_lake, found in groupby(keys, lambda key: key.startswith(LAKE_FOLDER)):
            some = list(found)
            locks = object_locks_of(self._open_lake()) if is_in_lake else self._home
            yield from locks.read(some) if locks is not None else ((key, ObjectLock()) for key in some)


def destination_from_uri(uri: str, bucket: str | None = None) -> LakeStore:
    """Returns the store of a destination at a URI or a local folder; its parts may be in Security Lake."""
    return LakeStore(store_from_uri(uri), store_from_uri, bucket)
