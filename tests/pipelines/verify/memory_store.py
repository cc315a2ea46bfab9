"""Object store in memory, for tests that damage objects.

Invariant: an object is visible only when it is closed, and ``create`` never overwrites.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TypeVar

from airflow_audit_provider.core.ports import ListedObject

_Result = TypeVar("_Result")


class MemoryStore:
    """Satisfies :class:`~airflow_audit_provider.core.ports.Store`; a test may change ``objects``."""

    states_md5 = False

    def __init__(self, objects: dict[str, bytes] | None = None) -> None:
        self.objects = dict(objects or {})
        self.reads: list[str] = []

    @property
    def is_remote(self) -> bool:
        """True, so that requests are made as those to an object store."""
        return True

    def read(self, key: str) -> bytes | None:
        """Returns the object, or None; records the key in ``reads``."""
        self.reads.append(key)
        return self.objects.get(key)

    def list_keys(self, prefix: str) -> Iterator[str]:
        """Returns an iterator over the sorted keys."""
        return iter(sorted(key for key in self.objects if key.startswith(prefix)))

    def list_sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Returns an iterator over the sorted keys and their sizes."""
        return ((key, len(self.objects[key])) for key in self.list_keys(prefix))

    def list_objects(self, prefix: str) -> Iterator[ListedObject]:
        """Returns an iterator over the same keys and sizes, with the digests of the objects if it ``states_md5``."""
        return (ListedObject(key, size_bytes, self._md5(key)) for key, size_bytes in self.list_sizes(prefix))

    def _md5(self, key: str) -> str | None:
        if not self.states_md5:
            return None
        return hashlib.md5(self.objects[key], usedforsecurity=False).hexdigest()

    def list_folders(self, prefix: str) -> list[str]:
        """Returns the sorted names of the folders below a prefix."""
        below = (key.removeprefix(prefix) for key in self.objects if key.startswith(prefix))
        return sorted({rest.partition("/")[0] for rest in below if "/" in rest})

    def list_neighbours(self, prefixes: Sequence[str]) -> Iterator[str]:
        """Returns an iterator over the sorted keys of several folders."""
        return (key for prefix in prefixes for key in self.list_keys(prefix))

    def present(self, names: Collection[str]) -> dict[str, str | None]:
        """Returns the names that exist, without digests."""
        return {name: None for name in names if any(key.startswith(name) for key in self.objects)}

    def stage(self, key: str) -> _MemoryObject:
        """Returns an open object."""
        return _MemoryObject(self.objects, key)

    def publish(self, staged_key: str, key: str) -> None:
        """Moves an object."""
        self.objects[key] = self.objects.pop(staged_key)

    def create(self, key: str, content: bytes) -> bool:
        """Writes an object and returns True, or returns False if it exists."""
        if key in self.objects:
            return False
        self.objects[key] = content
        return True

    def put(self, key: str, content: bytes) -> bool:
        """Writes an object; confirms nothing."""
        self.objects[key] = content
        return False

    def gather(self, calls: Sequence[Callable[[], _Result]]) -> list[_Result]:
        """Makes the calls one after the other."""
        return [call() for call in calls]

    def remove(self, keys: Iterable[str]) -> None:
        """Removes objects."""
        for key in keys:
            self.objects.pop(key, None)


class _MemoryObject:
    def __init__(self, objects: dict[str, bytes], key: str) -> None:
        self.key = key
        self._objects = objects
        self._pieces: list[bytes] = []

    def write(self, content: bytes) -> None:
        self._pieces.append(content)

    def close(self) -> None:
        self._objects[self.key] = b"".join(self._pieces)

    def discard(self) -> None:
        self._pieces.clear()
