"""Records that a report lists by name: the first ones of each kind, and counts of all.

Invariant: what is listed does not depend on the order in which records are added, so that equal comparisons make equal
reports.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from typing import NamedTuple

LISTED_COUNT = 1000


class Listed(NamedTuple):
    """A record in a list: its event time and id, the files that have it, the columns that differ, the delay."""

    event_ns: int
    id: str
    files: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    late_seconds: int | None = None


class FirstRecords:
    """The first records of a kind by (event time, id), at most ``limit``; ``count`` is that of all."""

    def __init__(self, limit: int = LISTED_COUNT) -> None:
        self.count = 0
        self._limit = limit
        self._first: list[Listed] = []

    def add(self, record: Listed) -> None:
        """Adds a record."""
        self.count += 1
        if len(self._first) < self._limit:
            insort(self._first, record, key=_place)
        elif _place(record) < _place(self._first[-1]):
            self._first.pop()
            insort(self._first, record, key=_place)

    def __iter__(self) -> Iterator[Listed]:
        return iter(self._first)


def _place(record: Listed) -> tuple[int, str]:
    return record.event_ns, record.id


class Lists:
    """The lists of a comparison."""

    def __init__(self) -> None:
        self.missing_there = FirstRecords()
        self.missing_here = FirstRecords()
        self.differing = FirstRecords()
        self.double = FirstRecords()
        self.late = FirstRecords()


class Counts:
    """Counts of one window: the records of the dataset in the range, and how many are of each kind."""

    __slots__ = ("differing", "double", "late", "missing_here", "missing_there", "record_count")

    def __init__(self) -> None:
        self.record_count = self.missing_there = self.missing_here = 0
        self.differing = self.double = self.late = 0

    @property
    def is_equal(self) -> bool:
        """Whether the archive has exactly the records of the window; doubles and late ones do not count."""
        return not (self.missing_there or self.missing_here or self.differing)

    @property
    def is_plain(self) -> bool:
        """Whether nothing at all is to be said of the window."""
        return self.is_equal and not (self.double or self.late)
