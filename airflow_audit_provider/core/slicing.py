"""One window → slices worth fetching side by side, from the density seen.

Knows: how dense the records were so far, and how many a slice should hold.
Must not know: threads, requests.
Its one rule: slices are consecutive and half-open, so that together they are the window, whatever the density does.
"""

from __future__ import annotations

from datetime import timedelta

from airflow_audit_provider.core.query import MAX_PAGE_SIZE
from airflow_audit_provider.core.window import TimeWindow

SLICE_PAGES = 4
# A slice that turns out denser than thought is cut here; the remainder is sliced anew.
CUT_PAGES = 6
# How much longer than what showed it a density is trusted to last: nights are sparse, mornings are not.
_TRUST = 4
_SHORTEST = timedelta(seconds=10)


class Slicer:
    """Cuts slices off windows.

    Until a density is known a slice is the whole window, to be read for one page only. Then it is as long as holds
    about ``SLICE_PAGES`` pages at the density last seen, at least ten seconds.
    """

    def __init__(self) -> None:
        self._records_per_second: float | None = None
        self._trusted = timedelta(0)

    @property
    def is_scouting(self) -> bool:
        """Whether the density is still unknown, so that the next slice is to be cut after one page."""
        return self._records_per_second is None

    def learn(self, read: TimeWindow, record_count: int) -> None:
        """Note how many records a slice held."""
        self._records_per_second = record_count / read.length.total_seconds()
        self._trusted = read.length * _TRUST

    def split(self, window: TimeWindow) -> tuple[TimeWindow, TimeWindow | None]:
        """Return a window's first slice and its rest; the last slice may be half as long again."""
        length = self._slice_length()
        if length is None or window.length <= length * 1.5:
            return window, None
        border = (window.start + length).replace(microsecond=0)
        return TimeWindow(window.start, border), TimeWindow(border, window.end)

    def _slice_length(self) -> timedelta | None:
        """Return how long a slice is to be; None for one that has no end."""
        if not self._records_per_second:
            return None
        length = timedelta(seconds=SLICE_PAGES * MAX_PAGE_SIZE / self._records_per_second)
        return max(_SHORTEST, min(length, self._trusted))
