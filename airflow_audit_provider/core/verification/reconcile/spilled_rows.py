"""Rows in buckets that exceed memory: what does not fit is spilled, and comes back one bucket at a time.

Invariant: memory is bounded by the rows that are not spilled yet and by one bucket, whatever is added.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

import msgspec

from airflow_audit_provider.core.ports import SpillStorage

# With so many buckets, ten million rows have some 40,000 in each.
BUCKET_COUNT = 256
# Rows of some 300 bytes: twenty megabytes.
_MEMORY_ROWS = 1 << 16
_Row = TypeVar("_Row", bound=msgspec.Struct)


class SpilledRows(Generic[_Row]):
    """Rows of one type by bucket; ``count`` is how many were added."""

    def __init__(
        self,
        spill: SpillStorage,
        row_type: type[_Row],
        bucket_count: int = BUCKET_COUNT,
        memory_rows: int = _MEMORY_ROWS,
    ) -> None:
        self.count = 0
        self._spill_storage = spill
        self._memory_rows = memory_rows
        self._memory_count = 0
        self._buckets: list[list[_Row]] = [[] for _ in range(bucket_count)]
        # Of each bucket, where its spilled rows are.
        self._spilled: list[list[tuple[int, int]]] = [[] for _ in range(bucket_count)]
        self._decoder = msgspec.msgpack.Decoder(list[row_type])  # type: ignore[valid-type]  # a type known at run time

    def add(self, bucket: int, row: _Row) -> None:
        """Adds a row to a bucket."""
        self._buckets[bucket].append(row)
        self.count += 1
        self._memory_count += 1
        if self._memory_count >= self._memory_rows:
            self._spill()

    def rows(self, bucket: int) -> Iterator[_Row]:
        """Yields the rows of a bucket in the order in which they were added."""
        for offset, size_bytes in self._spilled[bucket]:
            yield from self._decoder.decode(self._spill_storage.read(offset, size_bytes))
        yield from self._buckets[bucket]

    def _spill(self) -> None:
        for bucket, rows in enumerate(self._buckets):
            if rows:
                content = msgspec.msgpack.encode(rows)
                self._spilled[bucket].append((self._spill_storage.append(content), len(content)))
                rows.clear()
        self._memory_count = 0
