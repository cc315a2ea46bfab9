"""A store in memory, for tests that damage every byte.

Knows: the port. Must not know: what the objects mean.
Its one rule: a whole object or none, and ``create`` never overwrites.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator


class MemoryStore:
    """Satisfies :class:`~airflow_audit_provider.core.ports.Store`; ``objects`` may be changed by a test."""

    def __init__(self, objects: dict[str, bytes] | None = None) -> None:
        self.objects = dict(objects or {})
        self.reads: list[str] = []

    def read(self, key: str) -> bytes | None:
        """Return the whole object."""
        self.reads.append(key)
        return self.objects.get(key)

    def list_keys(self, prefix: str) -> Iterator[str]:
        """Yield keys, sorted."""
        return iter(sorted(key for key in self.objects if key.startswith(prefix)))

    def list_sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yield keys and sizes, sorted."""
        return ((key, len(self.objects[key])) for key in self.list_keys(prefix))

    def stage(self, key: str) -> _MemoryObject:
        """Open an object."""
        return _MemoryObject(self.objects, key)

    def publish(self, staged_key: str, key: str) -> None:
        """Move an object."""
        self.objects[key] = self.objects.pop(staged_key)

    def create(self, key: str, content: bytes) -> bool:
        """Write an object unless it is there."""
        if key in self.objects:
            return False
        self.objects[key] = content
        return True

    def remove(self, keys: Iterable[str]) -> None:
        """Remove objects."""
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
