"""Store in memory that counts the requests an object store would get, with the pages of its listings."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from tests.pipelines.verify.memory_store import MemoryStore

# S3's ListObjectsV2 returns at most this many keys.
KEYS_A_PAGE = 1000


class _Objects(dict[str, bytes]):
    """Objects whose sorted keys are computed again only after a key was added or removed."""

    _sorted: list[str] | None = None

    @property
    def sorted_keys(self) -> list[str]:
        """All keys, sorted."""
        self._sorted = sorted(self) if self._sorted is None else self._sorted
        return self._sorted

    def __setitem__(self, key: str, content: bytes) -> None:
        self._sorted = self._sorted if key in self else None
        super().__setitem__(key, content)

    def __delitem__(self, key: str) -> None:
        self._sorted = None
        super().__delitem__(key)

    def pop(self, key: str, *default: Any) -> Any:
        """Removes an object and returns its content."""
        self._sorted = None
        return super().pop(key, *default)


class CountingStore(MemoryStore):
    """Counts ``calls`` by kind; a listing costs one call a page. ``listed`` are the prefixes of listings of keys."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        super().__init__()
        self.objects: _Objects = _Objects(objects)
        self.calls: Counter[str] = Counter()
        self.listed: list[str] = []

    @property
    def call_count(self) -> int:
        """Number of requests so far."""
        return self.calls.total()

    def read(self, key: str) -> bytes | None:
        """Returns the object, or None."""
        self.calls["read"] += 1
        return super().read(key)

    def list_keys(self, prefix: str) -> Iterator[str]:
        """Returns an iterator over the sorted keys."""
        found = self._below(prefix)
        self.listed.append(prefix)
        self.calls["list"] += max(1, -(-len(found) // KEYS_A_PAGE))
        return iter(found)

    def list_folders(self, prefix: str) -> list[str]:
        """Returns the sorted names of the folders below a prefix, and jumps over what is in them as a store does."""
        self.calls["list"] += 1
        keys, found = self.objects.sorted_keys, list[str]()
        place = bisect_left(keys, prefix)
        while place < len(keys) and keys[place].startswith(prefix):
            name, is_folder, _ = keys[place].removeprefix(prefix).partition("/")
            found += [name] if is_folder else []
            place = bisect_left(keys, f"{prefix}{name}0") if is_folder else place + 1
        return found

    def list_neighbours(self, prefixes: Sequence[str]) -> Iterator[str]:
        """Returns an iterator over the sorted keys of several folders; S3 lists their range at once."""
        found = [key for prefix in prefixes for key in self._below(prefix)]
        self.calls["list"] += max(1, -(-len(found) // KEYS_A_PAGE))
        return iter(found)

    def present(self, names: Collection[str]) -> dict[str, str | None]:
        """Returns the names that exist, without digests, by one listing of the top level."""
        self.calls["list"] += 1
        return {name: None for name in names if self._below(name)}

    def put(self, key: str, content: bytes) -> bool:
        """Writes an object; confirms nothing."""
        self.calls["put"] += 1
        return super().put(key, content)

    def stage(self, key: str) -> Any:
        """Returns an open object; its upload is one call."""
        self.calls["stage"] += 1
        return super().stage(key)

    def create(self, key: str, content: bytes) -> bool:
        """Writes an object and returns True, or returns False if it exists."""
        self.calls["create"] += 1
        return super().create(key, content)

    def publish(self, staged_key: str, key: str) -> None:
        """Moves an object."""
        self.calls["publish"] += 1
        super().publish(staged_key, key)

    def remove(self, keys: Iterable[str]) -> None:
        """Removes objects."""
        removed = list(keys)
        self.calls["remove"] += len(removed)
        super().remove(removed)

    def _below(self, prefix: str) -> list[str]:
        keys = self.objects.sorted_keys
        first = bisect_left(keys, prefix)
        return keys[first : bisect_left(keys, prefix[:-1] + chr(ord(prefix[-1]) + 1)) if prefix else None]
