"""Records that a query selects, in its order; generates only the days that it needs.

Invariant: ``take`` is a slice of one fixed sequence, across any number of days.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import NamedTuple

from airflow_audit_provider.testing.daily_pattern import seeded
from airflow_audit_provider.testing.dataset import Dataset
from airflow_audit_provider.testing.filters import Filter
from airflow_audit_provider.testing.instants import SECOND_NS, day_of, day_start
from airflow_audit_provider.testing.records import Feed, Row

Position = tuple[int, str]


class Order(NamedTuple):
    """Order of records: ``ties`` is stable, id, reversed or random; ``salt`` makes one random order."""

    descending: bool
    ties: str = "stable"
    by_second: bool = False
    salt: int = 0

    @property
    def plain(self) -> bool:
        """Whether the order is a day's own order or its exact reverse."""
        return self.ties == "stable" and not self.by_second


class Selection:
    """The records of one feed from ``lower`` up to, not including, ``upper`` (both as (time, id)), in an order."""

    def __init__(self, dataset: Dataset, feed: Feed, lower: Position, upper: Position, order: Order) -> None:
        self._dataset = dataset
        self._feed = feed
        self._lower = lower
        self._upper = upper
        self._order = order
        self._filter: Filter | None = None

    def keeping(self, wanted: Filter | None) -> Selection:
        """Returns this selection with a filter applied."""
        self._filter = wanted
        return self

    def total(self) -> int:
        """Returns the number of selected records."""
        return sum(self._size(day) for day in self._days())

    def take(self, offset: int, count: int) -> list[Row]:
        """Returns at most ``count`` records from an offset on."""
        taken: list[Row] = []
        for day in self._days():
            size = self._size(day)
            if offset >= size:
                offset -= size
                continue
            taken += self._cut(day, offset, count - len(taken))
            offset = 0
            if len(taken) >= count:
                break
        return taken

    def __iter__(self) -> Iterator[Row]:
        for day in self._days():
            yield from self._cut(day, 0, self._size(day))

    def _days(self) -> Sequence[int]:
        if self._lower >= self._upper:
            return range(0)
        days = range(day_of(self._lower[0]), day_of(self._upper[0]) + 1)
        return days[::-1] if self._order.descending else days

    def _whole(self, day: int) -> bool:
        return self._lower <= (day_start(day), "") and (day_start(day + 1), "") <= self._upper

    def _size(self, day: int) -> int:
        if self._filter is None and self._whole(day):
            return self._dataset.count(self._feed, day)
        _, start, stop = self._span(day)
        return stop - start

    def _span(self, day: int) -> tuple[tuple[Row, ...], int, int]:
        """Returns a day's records and the selected part of them."""
        if self._filter is None:
            rows = self._dataset.rows(self._feed, day)
        else:
            rows = self._dataset.filtered(self._feed, day, self._filter.name, self._filter.keep)
        if self._whole(day):
            return rows, 0, len(rows)
        start = bisect_left(rows, self._lower)
        return rows, start, max(start, bisect_left(rows, self._upper))

    def _cut(self, day: int, offset: int, count: int) -> Sequence[Row]:
        """Returns a slice of one day; in the plain orders only the slice is copied."""
        rows, start, stop = self._span(day)
        if not self._order.plain:
            return self._sorted(rows[start:stop])[offset : offset + count]
        if not self._order.descending:
            return rows[start + offset : min(stop, start + offset + count)]
        last = stop - offset
        return rows[max(start, last - count) : last][::-1]

    def _sorted(self, rows: Sequence[Row]) -> list[Row]:
        """Orders records of equal time by the tie rule; time keeps the requested direction."""
        order = self._order
        found = sorted(rows, key=lambda row: row.id, reverse=order.ties == "reversed")
        if order.ties == "random":
            seeded(order.salt).shuffle(found)
        elif order.by_second:
            found.sort(key=lambda row: blake2b(row.id.encode(), digest_size=8).digest())
        grain = SECOND_NS if order.by_second else 1
        found.sort(key=lambda row: row.time_ns // grain, reverse=order.descending)
        return found
