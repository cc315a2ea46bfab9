"""Bounds of what one reader reads of a store: bytes of an object and of all of them, objects, listed keys.

A reader that acts for somebody else, such as the coverage page, must not fill the memory of its process with what
anyone can write to a destination. A task reads without bounds.

Invariant: at most one byte more than the bounds allow is requested, and a listing ends with the first key too many.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from airflow_audit_provider.exceptions import ReadLimitExceededError

_Listed = TypeVar("_Listed")
_UNLIMITED = 1 << 62


class ReadBounds(NamedTuple):
    """The most that one reader reads: of one object, of all together, objects, and keys in all listings."""

    object_bytes: int
    total_bytes: int
    object_count: int
    listed_count: int


UNBOUNDED = ReadBounds(_UNLIMITED, _UNLIMITED, _UNLIMITED, _UNLIMITED)


@dataclass(slots=True)
class _Used:
    total_bytes: int = 0
    object_count: int = 0
    listed_count: int = 0


class ReadMeter:
    """Counts what a store reads; threads share it."""

    def __init__(self, bounds: ReadBounds | None) -> None:
        self.is_bounded = bounds is not None
        self.bounds = bounds or UNBOUNDED
        self._used = _Used()
        self._lock = threading.Lock()

    def begin(self) -> int:
        """Counts an object that is about to be read; returns how many bytes of it to request at most."""
        with self._lock:
            if self._used.object_count >= self.bounds.object_count:
                raise _exceeded(self.bounds.object_count, "objects")
            self._used.object_count += 1
        return self.bounds.object_bytes + 1

    def check_object(self, key: str, size_bytes: int) -> None:
        """Raises ``ReadLimitExceededError`` for an object that is too large; ``size_bytes`` may be of its beginning."""
        if size_bytes > self.bounds.object_bytes:
            raise ReadLimitExceededError(
                f"The object {key!r} has more than {self.bounds.object_bytes:,} bytes, so it is not read here. No run "
                "writes such an object. Find out who wrote it, and move it out of the destination.",
                key=key,
            )

    def take(self, key: str, content: bytes) -> bytes:
        """Returns what was read of an object; raises ``ReadLimitExceededError`` if it is too much."""
        self.check_object(key, len(content))
        with self._lock:
            self._used.total_bytes += len(content)
            if self._used.total_bytes > self.bounds.total_bytes:
                raise _exceeded(self.bounds.total_bytes, "bytes")
        return content

    def listing(self, found: Iterable[_Listed]) -> Iterable[_Listed]:
        """Returns what a listing finds; it raises ``ReadLimitExceededError`` at the first entry too many."""
        return self._counted(found) if self.is_bounded else found

    def _counted(self, found: Iterable[_Listed]) -> Iterator[_Listed]:
        for one in found:
            with self._lock:
                self._used.listed_count += 1
                if self._used.listed_count > self.bounds.listed_count:
                    raise _exceeded(self.bounds.listed_count, "keys")
            yield one

    def left_to_list(self) -> int:
        """Returns how many entries to request at most: one more than the bounds allow."""
        return self.bounds.listed_count - self._used.listed_count + 1


def _exceeded(most: int, what: str) -> ReadLimitExceededError:
    return ReadLimitExceededError(
        f"The destination has more than {most:,} {what} that would have to be read, so the rest is not read here. Find "
        "out who wrote so much, or use the command `airflow-audit-provider coverage`, which reads without this limit."
    )
