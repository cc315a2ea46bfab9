"""Store in memory that counts the requests an object store would get, with the pages of its listings."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator

from tests.pipelines.verify.memory_store import MemoryStore

# S3's ListObjectsV2 returns at most this many keys.
KEYS_A_PAGE = 1000


class CountingStore(MemoryStore):
    """Counts ``calls`` by kind; a listing costs one call a page."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        super().__init__(objects)
        self.calls: Counter[str] = Counter()
        self._sorted = sorted(self.objects)

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
        if len(self._sorted) != len(self.objects):
            self._sorted = sorted(self.objects)
        first = bisect_left(self._sorted, prefix)
        found = self._sorted[
            first : bisect_left(self._sorted, prefix[:-1] + chr(ord(prefix[-1]) + 1)) if prefix else None
        ]
        self.calls["list"] += max(1, -(-len(found) // KEYS_A_PAGE))
        return iter(found)

    def list_folders(self, prefix: str) -> list[str]:
        """Returns the sorted names of the folders below a prefix, and jumps over what is in them as a store does."""
        self.calls["list"] += 1
        found: list[str] = []
        place = bisect_left(self._sorted, prefix)
        while place < len(self._sorted) and self._sorted[place].startswith(prefix):
            name, is_folder, _ = self._sorted[place].removeprefix(prefix).partition("/")
            found += [name] if is_folder else []
            place = bisect_left(self._sorted, f"{prefix}{name}0") if is_folder else place + 1
        return found

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
