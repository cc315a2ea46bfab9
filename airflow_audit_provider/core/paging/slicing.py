"""Divides one window into slices worth fetching in parallel, by the record density seen so far.

The first page is requested alone, because most windows hold no more. If more follows, the window is divided into
segments and one page is read at the start of each as a sample of its density (nights are sparse, mornings are not).
Every segment is then cut into slices by the density last seen in it.

Invariant: segments and slices are consecutive and half-open; together they are the window, whatever the density is.
"""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import NamedTuple

from airflow_audit_provider.core.api.query import MAX_PAGE_SIZE
from airflow_audit_provider.core.windows.window import TimeWindow

SLICE_PAGES = 3
# A slice that is denser than expected is cut after so many pages, and its remainder is sliced again.
CUT_PAGES = 4
SAMPLE_PAGES = 1
# A density is trusted for this many times the length of the time range that showed it.
_TRUST_FACTOR = 4
_MIN_SLICE_LENGTH = timedelta(seconds=10)
# The last slice may be half as long again: a separate slice of less than half would cost two requests of its own.
_LAST_SLICE_FACTOR = 1.5


class Density:
    """Record density of one segment, shared by all slices cut from it; None until a part of the segment is read."""

    def __init__(self) -> None:
        self.records_per_second: float | None = None
        self.trusted_length = timedelta(0)

    def learn(self, read: TimeWindow, record_count: int) -> None:
        """Updates the density with the number of records in a part of the segment."""
        self.records_per_second = record_count / read.length.total_seconds()
        self.trusted_length = read.length * _TRUST_FACTOR

    def slice_length(self) -> timedelta:
        """Returns the length of a slice of about ``SLICE_PAGES`` full pages, at least ten seconds."""
        if not self.records_per_second:
            return max(_MIN_SLICE_LENGTH, self.trusted_length)
        seconds = min(SLICE_PAGES * MAX_PAGE_SIZE / self.records_per_second, self.trusted_length.total_seconds())
        return max(_MIN_SLICE_LENGTH, timedelta(seconds=seconds))


class Segment(NamedTuple):
    """A part of the window that is not yet cut into slices."""

    window: TimeWindow
    density: Density

    @property
    def needs_sample(self) -> bool:
        """Whether nothing of the segment was read yet, so that a page at its start is read first."""
        return self.density.records_per_second is None


class Slice(NamedTuple):
    """A part of the window that is fetched as one, up to about ``page_limit`` pages from its start."""

    window: TimeWindow
    density: Density
    page_limit: int

    @property
    def is_sample(self) -> bool:
        """Whether only one page is read, for its density."""
        return self.page_limit == SAMPLE_PAGES


class Slicer:
    """Divides a window into segments and cuts slices off them; ``concurrency`` slices are fetched at once."""

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._is_divided = False

    def split(self, segment: Segment) -> tuple[Slice, Segment | None]:
        """Returns a segment's first slice and the rest, None if nothing is left."""
        window, density = segment
        if segment.needs_sample:
            return Slice(window, density, SAMPLE_PAGES), None
        length = density.slice_length()
        if self._concurrency == 1 or window.length <= length * _LAST_SLICE_FACTOR:
            return Slice(window, density, CUT_PAGES), None
        boundary = (window.start + length).replace(microsecond=0)
        first = Slice(TimeWindow(window.start, boundary), density, CUT_PAGES)
        return first, Segment(TimeWindow(boundary, window.end), density)

    def learn(self, read: Slice, record_count: int, remainder: TimeWindow | None) -> list[Segment]:
        """Updates the density with a slice read up to ``remainder``; returns the remainder as segments to read."""
        window = read.window
        read.density.learn(window if remainder is None else TimeWindow(window.start, remainder.start), record_count)
        if remainder is None:
            return []
        was_divided, self._is_divided = self._is_divided, True
        return [Segment(remainder, read.density)] if was_divided else self._divide(remainder, read.density)

    def _divide(self, window: TimeWindow, density: Density) -> list[Segment]:
        """Divides what is left after the first page; the first segment keeps the density that page showed."""
        pages = (density.records_per_second or 0) * window.length.total_seconds() / MAX_PAGE_SIZE
        count = min(self._concurrency, int(pages / SLICE_PAGES), int(window.length / _MIN_SLICE_LENGTH))
        if count < 2:
            return [Segment(window, density)]
        inner = [(window.start + window.length * index / count).replace(microsecond=0) for index in range(1, count)]
        boundaries = [window.start, *inner, window.end]
        windows = [TimeWindow(start, end) for start, end in pairwise(boundaries)]
        return [Segment(windows[0], density), *(Segment(later, Density()) for later in windows[1:])]
