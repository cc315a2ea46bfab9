"""One window → slices worth fetching side by side, from the density seen.

Knows: how dense the records were where they were looked at, and how many a slice should hold.
Must not know: threads, requests.
Its one rule: stretches and slices are consecutive and half-open, so that together they are the window, whatever the
density does.

The first page is asked for alone: most windows hold no more. Where more is to come, the window is divided into
stretches, a page is read at the start of each (nights are sparse, mornings are not), and every stretch is cut into
slices by what was last seen in it.
"""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import NamedTuple

from airflow_audit_provider.core.api.query import MAX_PAGE_SIZE
from airflow_audit_provider.core.windows.window import TimeWindow

SLICE_PAGES = 3
# A slice that turns out denser than thought is cut here; the remainder is sliced anew.
CUT_PAGES = 4
SAMPLE_PAGES = 1
# How much longer than what showed it a density is trusted to last.
_TRUST = 4
_SHORTEST = timedelta(seconds=10)


class Density:
    """What is known of one stretch's density; everything cut from the stretch shares it."""

    def __init__(self) -> None:
        self.records_per_second: float | None = None
        self.trusted = timedelta(0)

    def learn(self, read: TimeWindow, record_count: int) -> None:
        """Note how many records were seen in a part of the stretch."""
        self.records_per_second = record_count / read.length.total_seconds()
        self.trusted = read.length * _TRUST

    def slice_length(self) -> timedelta:
        """Return how long a slice should be that is to hold about ``SLICE_PAGES`` pages, at least ten seconds."""
        if not self.records_per_second:
            return max(_SHORTEST, self.trusted)
        seconds = min(SLICE_PAGES * MAX_PAGE_SIZE / self.records_per_second, self.trusted.total_seconds())
        return max(_SHORTEST, timedelta(seconds=seconds))


class Segment(NamedTuple):
    """A part of the window that is not cut into slices yet."""

    window: TimeWindow
    density: Density

    @property
    def is_unknown(self) -> bool:
        """Whether nothing of it was seen, so that a page at its start is to be read first."""
        return self.density.records_per_second is None


class Slice(NamedTuple):
    """What is fetched as one: from ``window``'s start for at most about ``page_limit`` pages."""

    window: TimeWindow
    density: Density
    page_limit: int

    @property
    def is_sample(self) -> bool:
        """Whether it is read for its density, one page of it."""
        return self.page_limit == SAMPLE_PAGES


class Slicer:
    """Divides a window into stretches and cuts slices off them; ``concurrency`` is how many are fetched together."""

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._is_divided = False

    def split(self, stretch: Segment) -> tuple[Slice, Segment | None]:
        """Return a stretch's first slice and its rest; the last slice may be half as long again."""
        window, density = stretch
        if stretch.is_unknown:
            return Slice(window, density, SAMPLE_PAGES), None
        length = density.slice_length()
        if self._concurrency == 1 or window.length <= length * 1.5:
            return Slice(window, density, CUT_PAGES), None
        border = (window.start + length).replace(microsecond=0)
        piece = Slice(TimeWindow(window.start, border), density, CUT_PAGES)
        return piece, Segment(TimeWindow(border, window.end), density)

    def learn(self, piece: Slice, record_count: int, remainder: TimeWindow | None) -> list[Segment]:
        """Note what a slice held up to its ``remainder``; return the stretches that the remainder is to be read as."""
        window = piece.window
        piece.density.learn(window if remainder is None else TimeWindow(window.start, remainder.start), record_count)
        if remainder is None:
            return []
        divided, self._is_divided = self._is_divided, True
        return [Segment(remainder, piece.density)] if divided else self._divide(remainder, piece.density)

    def _divide(self, window: TimeWindow, density: Density) -> list[Segment]:
        """Divide what is left after the first page; the first stretch goes on with what that page showed."""
        pages = (density.records_per_second or 0) * window.length.total_seconds() / MAX_PAGE_SIZE
        count = min(self._concurrency, int(pages / SLICE_PAGES), int(window.length / _SHORTEST))
        if count < 2:
            return [Segment(window, density)]
        inner = [(window.start + window.length * place / count).replace(microsecond=0) for place in range(1, count)]
        borders = [window.start, *inner, window.end]
        windows = [TimeWindow(start, end) for start, end in pairwise(borders)]
        return [Segment(windows[0], density), *(Segment(later, Density()) for later in windows[1:])]
