"""Divides one window into slices worth fetching in parallel, by the record density seen so far.

The first page is requested alone, because most windows hold no more. A full first page may be the beginning of a busy
log, or a burst in a quiet one. Therefore, one page in the middle of the rest is read beside what follows. If that page
is full too, the window is divided into segments, and one page is read at the start of each as a sample of its density
(nights are sparse, mornings are not). If not, one slice is fetched at a time, and one more for each that holds a full
page, until one is much sparser than expected. A slice that is fetched alone is all that is left of its segment;
otherwise a segment is cut into slices by the density last seen in it.

While the rate limiter delays requests so long that one at a time is as fast, one slice is fetched at a time: the last
page of a slice is seldom full, so fewer slices take fewer requests, and the requests are what a throttled read waits
for.

Invariant: segments and slices are consecutive and half-open; together they are the window, whatever the density is.
"""

from __future__ import annotations

from datetime import timedelta
from enum import Enum, auto
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
# What a slice showed of delays and round trips counts three quarters as much after each slice that follows.
_MEMORY = 0.75


class Density:
    """Record density of one segment, shared by all slices cut from it; None until a part of the segment is read.

    ``has_fallen`` is whether a part had less than a third of the records that were expected of it, and no part since
    then had a full page.
    """

    def __init__(self) -> None:
        self.records_per_second: float | None = None
        self.trusted_length = timedelta(0)
        self.has_fallen = False

    def learn(self, read: TimeWindow, record_count: int, *, has_full_page: bool = False) -> None:
        """Updates the density with the number of records in a part of the segment."""
        expected, self.records_per_second = self.records_per_second, record_count / read.length.total_seconds()
        self.trusted_length = read.length * _TRUST_FACTOR
        is_sparser = self.records_per_second * SLICE_PAGES < (expected or 0.0)
        self.has_fallen = not has_full_page and (self.has_fallen or is_sparser)

    def slice_length(self) -> timedelta:
        """Returns the length of a slice of about ``SLICE_PAGES`` full pages, at least ten seconds."""
        if not self.records_per_second:
            return max(_MIN_SLICE_LENGTH, self.trusted_length)
        seconds = min(SLICE_PAGES * MAX_PAGE_SIZE / self.records_per_second, self.trusted_length.total_seconds())
        return max(_MIN_SLICE_LENGTH, timedelta(seconds=seconds))


class Segment(NamedTuple):
    """A part of the window that is not yet cut into slices; it is divided into ``share`` segments in a busy log."""

    window: TimeWindow
    density: Density
    share: int = 1

    @property
    def needs_sample(self) -> bool:
        """Whether nothing of the segment was read yet, so that a page at its start is read first."""
        return self.density.records_per_second is None


class Slice(NamedTuple):
    """A part of the window that is fetched as one, up to about ``page_limit`` pages from its start.

    What is left of it is divided into ``share`` segments in a busy log.
    """

    window: TimeWindow
    density: Density
    page_limit: int
    share: int = 1

    @property
    def is_sample(self) -> bool:
        """Whether only one page is read, for its density."""
        return self.page_limit == SAMPLE_PAGES


class _Phase(Enum):
    """What is known of a window."""

    FIRST_PAGE = auto()
    MIDDLE = auto()
    BUSY = auto()
    QUIET = auto()


class Slicer:
    """Divides a window into segments and cuts slices off them; at most ``concurrency`` slices are fetched at once.

    ``fetch_limit`` is how many slices are worth fetching at once. It is the concurrency as soon as the log is known to
    be busy, and grows with the slices that hold a full page otherwise; it is 1 while requests are throttled.
    """

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._useful_count = 1
        self._throttled_seconds = 0.0
        self._phase = _Phase.FIRST_PAGE
        self._middle = Density()
        self._is_middle_full = self._is_front_in_flight = False

    @property
    def fetch_limit(self) -> int:
        """How many slices are worth fetching at once, 1 to the concurrency."""
        return 1 if self._throttled_seconds > 0 else self._useful_count

    def note_throttling(self, delay_seconds: float, trip_seconds: float) -> None:
        """Updates whether requests are throttled, by the delays and the round trips of one slice's requests.

        Of ``n`` slices at a time, each sends its next request after a delay and a trip; one slice alone would send it
        after a trip. That is as fast if ``n`` trips take less than a delay and a trip. The slices before count too,
        because a limit of some requests in some seconds delays none of them, and then one for long.
        """
        gained_seconds = delay_seconds - (self.fetch_limit - 1) * trip_seconds
        self._throttled_seconds = self._throttled_seconds * _MEMORY + gained_seconds

    def split(self, segment: Segment) -> tuple[Slice, list[Segment]]:
        """Returns a segment's first slice and the rest, an empty list if nothing is left."""
        if segment.needs_sample or self._phase is _Phase.MIDDLE:
            self._is_front_in_flight |= not segment.needs_sample
            return Slice(segment.window, segment.density, SAMPLE_PAGES, segment.share), []
        (window, density, share), *others = self._divide_if_busy(segment)
        length = density.slice_length()
        is_last = window.length <= length * _LAST_SLICE_FACTOR
        if is_last or self.fetch_limit == 1:
            return Slice(window, density, CUT_PAGES), others
        boundary = (window.start + length).replace(microsecond=0)
        first = Slice(TimeWindow(window.start, boundary), density, CUT_PAGES)
        return first, [Segment(TimeWindow(boundary, window.end), density, share), *others]

    def learn(self, read: Slice, record_count: int, remainder: TimeWindow | None) -> list[Segment]:
        """Updates the density with a slice read up to ``remainder``; returns the remainder as segments to read."""
        has_full_page = remainder is not None or record_count >= MAX_PAGE_SIZE
        complete = TimeWindow(read.window.start, remainder.start) if remainder else read.window
        read.density.learn(complete, record_count, has_full_page=has_full_page)
        if self._phase is _Phase.FIRST_PAGE:
            self._phase = _Phase.QUIET
            return [] if remainder is None else self._halve(remainder, read.density)
        if self._phase is _Phase.MIDDLE:
            self._learn_phase(is_middle=read.density is self._middle, has_full_page=has_full_page)
        elif self._phase is _Phase.QUIET:
            self._learn_fetch_limit(read.density, complete, has_full_page=has_full_page)
        return [] if remainder is None else self._divide_if_busy(Segment(remainder, read.density, read.share))

    def _learn_phase(self, *, is_middle: bool, has_full_page: bool) -> None:
        """Decides by the page in the middle whether the log is busy.

        If it is full, the page beside it is awaited, and nothing else is fetched meanwhile: what is fetched first would
        then lie behind the middle, and wait for its turn.
        """
        if is_middle:
            self._useful_count, self._is_middle_full = 1, has_full_page
            self._phase = _Phase.MIDDLE if has_full_page else _Phase.QUIET
        else:
            self._is_front_in_flight = False
        if self._is_middle_full and not self._is_front_in_flight:
            self._useful_count, self._phase = self._concurrency, _Phase.BUSY

    def _learn_fetch_limit(self, density: Density, complete: TimeWindow, *, has_full_page: bool) -> None:
        """Allows one fetch more after a slice with a full page, unless it is too short to show more than a burst."""
        if density.has_fallen:
            self._useful_count = 1
        elif has_full_page and complete.length >= _MIN_SLICE_LENGTH:
            self._useful_count = min(self._concurrency, self._useful_count + 1)

    def _halve(self, window: TimeWindow, density: Density) -> list[Segment]:
        """Divides what is left after the first page into two; the first keeps the density that page showed."""
        pages = (density.records_per_second or 0) * window.length.total_seconds() / MAX_PAGE_SIZE
        count = min(self._concurrency, int(pages / SLICE_PAGES), int(window.length / _MIN_SLICE_LENGTH))
        if count < 2:
            return [Segment(window, density)]
        self._useful_count, self._phase = 2, _Phase.MIDDLE
        share = (count + 1) // 2
        middle = (window.start + window.length * share / count).replace(microsecond=0)
        first = Segment(TimeWindow(window.start, middle), density, share)
        return [first, Segment(TimeWindow(middle, window.end), self._middle, count - share)]

    def _divide_if_busy(self, segment: Segment) -> list[Segment]:
        """Divides a segment of a busy log by its share; the first part keeps its density."""
        window, density, share = segment
        count = min(share, int(window.length / _MIN_SLICE_LENGTH)) if self._phase is _Phase.BUSY else 1
        if count < 2:
            return [segment]
        inner = [(window.start + window.length * index / count).replace(microsecond=0) for index in range(1, count)]
        windows = [TimeWindow(start, end) for start, end in pairwise([window.start, *inner, window.end])]
        return [Segment(windows[0], density), *(Segment(later, Density()) for later in windows[1:])]
