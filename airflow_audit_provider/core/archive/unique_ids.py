"""Has every id of a window come once? Asked of all its records, however many there are.

Knows: 64-bit hashes of ids, eight bytes a record. Must not know: the records, where what is put aside lies.
Its one rule: an id that came twice is found, at the latest when all have come; memory does not grow with the window.

Python's own hash of text is the cheapest there is and differs from process to process, which does no harm: it is
compared within one. By chance two of a million ids share a hash once in 40 million times; the pull fails then.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator

from airflow_audit_provider.core.ports import SpillStorage
from airflow_audit_provider.exceptions import SourceProtocolError

# So many heaps that one is small, and the set that a heap is made into for the asking, too.
_HEAP_MASK = 0xFF
# Half a megabyte waits in memory; few windows hold more and touch the disk at all.
_HELD_COUNT = 1 << 16
_HASH_BYTES = 8


class IdHashSet:
    """Takes the ids of a window's records in any order, each that is to be the only one of its kind.

    What it cannot hold is put aside in ``scratch``, whose errors it lets pass.
    """

    def __init__(self, scratch: SpillStorage) -> None:
        self._scratch = scratch
        self._heaps = _empty_heaps()
        self._held_count = 0
        # Of every time all heaps were put aside: where, and how many hashes each had.
        self._aside: list[tuple[int, array[int]]] = []

    def add(self, ids: Iterable[str]) -> None:
        """Note ids."""
        heaps, hashes = self._heaps, list(map(hash, ids))
        for each in hashes:
            heaps[each & _HEAP_MASK].append(each)
        self._held_count += len(hashes)
        if self._held_count >= _HELD_COUNT:
            self._spill()

    def repeated_count(self) -> int:
        """Return how many ids came that had come before."""
        return sum(len(heap) - len(set(heap)) for heap in self.iter_buckets())

    def shared_count(self, other: IdHashSet) -> int:
        """Return how many ids came here and on another roll, too."""
        heaps = zip(self.iter_buckets(), other.iter_buckets(), strict=True)
        return sum(len(set(one).intersection(two)) for one, two in heaps)

    def iter_buckets(self) -> Iterator[array[int]]:
        """Yield each heap with what was put aside of it."""
        offsets = [offset for offset, _ in self._aside]
        for place, held in enumerate(self._heaps):
            heap = array("q", held)
            for run, (_, counts) in enumerate(self._aside):
                size_bytes = counts[place] * _HASH_BYTES
                heap.frombytes(self._scratch.read(offsets[run], size_bytes))
                offsets[run] += size_bytes
            yield heap

    def _spill(self) -> None:
        counts = array("L", map(len, self._heaps))
        self._aside.append((self._scratch.append(b"".join(self._heaps)), counts))
        self._heaps, self._held_count = _empty_heaps(), 0


def _empty_heaps() -> list[array[int]]:
    return [array("q") for _ in range(_HEAP_MASK + 1)]


class DuplicateGuard:
    """The ids of one pull: of the records that were read, and of the committed ones that did not come again."""

    def __init__(self, scratch: SpillStorage) -> None:
        self._scratch = scratch
        self._read = IdHashSet(scratch)
        self._missing = IdHashSet(scratch)

    def add(self, ids: Iterable[str]) -> None:
        """Note ids of records that were read."""
        self._read.add(ids)

    def add_missing(self, ids: Iterable[str]) -> None:
        """Note ids of committed records that did not come again near their time."""
        self._missing.add(ids)

    def moved_count(self) -> int:
        """Return how many of the missing did come, at another time."""
        return self._missing.shared_count(self._read)

    def check_conflicts(self, added_ids: Iterable[str], window_name: str) -> None:
        """Raise ``SourceProtocolError`` when an id came twice, or one that is to be added is committed elsewhere."""
        if count := self._read.repeated_count():
            raise _conflict(
                f"{count} of the window's records have the id of another, of another time or other content, so one "
                "would be taken for the other. Nothing of the window was written. Run the window again; if it stays "
                "so, open a Cloudflare support case.",
                window_name,
            )
        added = IdHashSet(self._scratch)
        added.add(added_ids)
        if count := added.shared_count(self._missing):
            raise _conflict(
                f"{count} records came under ids that are committed with another time, and did not come at that one. "
                "Nothing was added. Run the window again; if it stays so, Cloudflare tells their time otherwise now: "
                "run it with replace=True, which commits the window anew as it is told.",
                window_name,
            )


def _conflict(message: str, window_name: str) -> SourceProtocolError:
    return SourceProtocolError(message, window=window_name, position="all slices together")
