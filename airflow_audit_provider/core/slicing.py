"""One window → slices worth fetching side by side, from the density seen.

Knows: how dense the records were so far, and how many a slice should hold.
Must not know: threads, requests.
Its one rule: slices are consecutive and half-open, so that together they are the window, whatever the density does.
"""

from __future__ import annotations

from datetime import timedelta

from airflow_audit_provider.core.query import MAX_PAGE_SIZE
from airflow_audit_provider.core.window import TimeWindow

SLICE_PAGES = 8
# A slice that turns out denser than thought is cut here; the remainder is read next.
CUT_PAGES = 12
_SHORTEST = timedelta(seconds=10)


class Slicer:
    """Hands out slices of a window in time order.

    The first is the whole window, to be cut after one page: it shows the density. The later ones are as long as holds
    about ``SLICE_PAGES`` pages at the density last seen, at least ten seconds.
    """

    def __init__(self, window: TimeWindow) -> None:
        self._rest: TimeWindow | None = window
        self._records_per_second: float | None = None

    @property
    def is_scouting(self) -> bool:
        """Whether the density is still unknown, so that the next slice is to be cut after one page."""
        return self._records_per_second is None

    def hand_out(self) -> TimeWindow | None:
        """Return the next slice, None when nothing is left to hand out."""
        rest = self._rest
        if rest is None:
            return None
        length = self._slice_length()
        if length is None or rest.length <= length * 1.5:
            self._rest = None
            return rest
        border = (rest.start + length).replace(microsecond=0)
        self._rest = TimeWindow(border, rest.end)
        return TimeWindow(rest.start, border)

    def learn(self, read: TimeWindow, record_count: int) -> None:
        """Note how many records a slice held."""
        self._records_per_second = record_count / read.length.total_seconds()

    def give_back(self, remainder: TimeWindow) -> None:
        """Take back what the scout left; the next slices are cut from it."""
        self._rest = remainder

    def _slice_length(self) -> timedelta | None:
        """Return how long a slice is to be; None for one that has no end."""
        if not self._records_per_second:
            return None
        return max(_SHORTEST, timedelta(seconds=SLICE_PAGES * MAX_PAGE_SIZE / self._records_per_second))
