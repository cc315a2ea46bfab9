"""Has every id of a window come once? Asked of all its records, however many there are.

Knows: 64-bit hashes of ids, eight bytes a record. Must not know: the records.
Its one rule: an id that came twice is found, at the latest when all have come.

Python's own hash of text is the cheapest there is and differs from process to process, which does no harm: it is
compared within one. By chance two of a million ids share a hash once in 40 million times, and another try has others.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable

from airflow_audit_provider.exceptions import SourceProtocolError

# So many heaps that one is small, and the set that a heap is made into for the asking, too.
_HEAP_MASK = 0xFF


class Roll:
    """Takes the ids of a window's records in any order, each that is to be the only one of its kind."""

    def __init__(self) -> None:
        self._heaps = [array("q") for _ in range(_HEAP_MASK + 1)]

    def add(self, ids: Iterable[str]) -> None:
        """Note ids."""
        heaps = self._heaps
        for digest in map(hash, ids):
            heaps[digest & _HEAP_MASK].append(digest)

    def repeated_count(self) -> int:
        """Return how many ids came that had come before."""
        return sum(len(heap) - len(set(heap)) for heap in self._heaps)

    def refuse_repeats(self, window_name: str) -> None:
        """Raise ``SourceProtocolError`` when an id came more than once."""
        count = self.repeated_count()
        if count:
            raise SourceProtocolError(
                f"{count} of the window's records have the id of a record of another time, so one would be taken for "
                "the other. Nothing of the window was written. Run the window again; if it stays so, open a Cloudflare "
                "support case.",
                window=window_name,
                position="all slices together",
            )
