"""How many rows are worth asking for where the log goes on behind the window: not a full page past its end.

Knows: what a walk has seen, and how far its window reaches. Must not know: queries, pages, what proves an end.
Its one rule: this is thrift and nothing else; where a page that was made small does not bring time on, its place is
asked for again with a full one, before anything is concluded from it.
"""

from __future__ import annotations

from math import sqrt

from airflow_audit_provider.core.paging.seen_records import SeenRecords
from airflow_audit_provider.core.windows.window import TimeWindow

# A request costs the API more than rows do, so no page is made so small that it may have to be many.
_SMALLEST_SHARE = 4
# How much more is asked for than is expected: the density is a guess, and one request too many costs a round trip.
_SPARE_SHARE = 1.1
_SPARE_DEVIATIONS = 3


class PageSizer:
    """The rows to ask for at once, at most ``page_size`` and at least a quarter of it, by the density so far.

    Only a log that goes on past the end of ``window``, as ``horizon`` says, has rows there that nobody wants. After
    ``give_up`` every page is full.
    """

    def __init__(self, page_size: int, window: TimeWindow, horizon: TimeWindow) -> None:
        self._page_size = page_size
        self._first_second, self._end_second = window.whole_seconds()
        self._goes_on = horizon.end > window.end

    def row_count(self, ledger: SeenRecords, cursor: str | None) -> int:
        """Return how many rows to ask for from the place that the ledger has reached, going up in time.

        A cursor is followed in full pages, and only full pages' cursors are.
        """
        if not self._goes_on or ledger.furthest is None or cursor is not None:
            return self._page_size
        read_seconds = ledger.furthest - self._first_second
        left_seconds = self._end_second - ledger.furthest
        if read_seconds <= 0 or left_seconds <= 0:
            return self._page_size
        expected = len(ledger) / read_seconds * left_seconds
        # The seconds around the border, and the one that is asked for again, are asked for on top.
        spare = _SPARE_DEVIATIONS * sqrt(expected) + 3 * len(ledger) / read_seconds
        wanted = int(expected * _SPARE_SHARE + spare) + 1
        return max(-(-self._page_size // _SMALLEST_SHARE), min(self._page_size, wanted))

    def is_small(self, asked_count: int) -> bool:
        """Say whether so many rows are less than a full page."""
        return asked_count < self._page_size

    def use_full_pages(self) -> None:
        """Make no page smaller any more: the records lie closer together than was thought."""
        self._goes_on = False
