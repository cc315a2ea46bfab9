"""Bounds of the time range that is queried next: whole seconds, wider than the window, moving as reading advances.

Invariant: every wanted record lies strictly inside the bounds, whether the API compares them inclusively or
exclusively, by the second, rounded or truncated, or at a finer precision.

Cloudflare API docs, `since`: "Limits the returned results to logs newer than the specified date", `before`: "… older
than the specified date". Both read as exclusive, but were observed to be inclusive to the second on version 1; for
version 2, and for the precision of the comparison, there is neither a document nor an observation.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from airflow_audit_provider.core.api.query import Direction, PageRequest
from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.core.paging.read_request import ReadRequest
from airflow_audit_provider.core.windows.window import TimeWindow, from_seconds

# How far before the window a probe looks for a record that shows where the last ones end. A window is read only if it
# starts three days inside the retention (``windows.readiness``), so these two days are still available.
_PROBE_MARGIN_SECONDS = 2 * 86_400
# How far before the window the wide probe looks, for the same purpose in a log that is quiet for days. A month may
# start before the retention, whose length is not documented to the day; a server may refuse that with status 400.
_WIDE_MARGIN_SECONDS = 31 * 86_400


class QueryBounds:
    """The bounds ``since_seconds`` and ``before_seconds`` of the next query; the start bound moves as reading advances.

    The *start bound* is ``since`` in ascending and ``before`` in descending order; the *end bound* is the other one.
    ``first_second`` is the signed second of the window's start in the reading direction. Signed seconds are defined in
    ``seen_records``.
    """

    def __init__(self, request: ReadRequest) -> None:
        self._is_ascending = request.direction is Direction.ASC
        window, query_window = request.window, request.query_window
        lower, upper = (window, query_window) if self._is_ascending else (query_window, window)
        # One second more on either side makes exclusive bounds inclusive, at any precision down from a second.
        self.since_seconds = lower.whole_seconds()[0] - 1
        self.before_seconds = upper.whole_seconds()[1] + 1
        self.first_second = self.since_seconds + 1 if self._is_ascending else 2 - self.before_seconds
        self._known_second = request.known_second

    @property
    def range(self) -> tuple[int, int]:
        """The bounds (since, before) of the next query."""
        return self.since_seconds, self.before_seconds

    def advance(self, furthest_second: int) -> bool:
        """Moves the start bound to just before the reached second, which is queried again; returns whether it moved."""
        can_advance = self.can_advance(furthest_second)
        if can_advance and self._is_ascending:
            self.since_seconds = furthest_second - 1
        elif can_advance:
            # In descending order the reached second ends one second later, and the API may round `before`.
            self.before_seconds = 2 - furthest_second
        return can_advance

    def can_advance(self, furthest_second: int) -> bool:
        """Returns whether reaching a signed second would move the start bound."""
        if self._is_ascending:
            return furthest_second - 1 > self.since_seconds
        return 2 - furthest_second < self.before_seconds

    def probe_range(self) -> tuple[int, int]:
        """Returns (since, before) of the probe: extended past the start bound to where a record is known or likely.

        In descending order the range past the start bound may lie in the future, so it is extended only to a record
        that is known to exist. A known record inside the window does not show where the window's first rows begin.
        """
        known = self._known_second
        if self._is_ascending:
            is_before = known is not None and known < self.first_second
            earliest = known if is_before and known is not None else self.first_second - _PROBE_MARGIN_SECONDS
            return min(self.since_seconds, earliest - 1), self.before_seconds
        latest = 1 - self.first_second if known is None else known + 1
        return self.since_seconds, max(self.before_seconds, latest + 1)

    def wide_range(self, query_range: tuple[int, int]) -> tuple[int, int]:
        """Returns (since, before) of the wide probe: a range extended a month into the past, at most to the epoch."""
        since, before = query_range
        return min(since, max(0, since - _WIDE_MARGIN_SECONDS)), before

    def later_range(self, query_range: tuple[int, int]) -> tuple[int, int]:
        """Returns (since, before) of a range extended by a month to later times, which may lie in the future."""
        since, before = query_range
        return since, before + _WIDE_MARGIN_SECONDS

    def opposite_range(self, query_range: tuple[int, int]) -> tuple[int, int]:
        """Returns a range that shares the end bound, extended past the start bound as that of the probe."""
        since, before = self.probe_range()
        return (since, query_range[1]) if self._is_ascending else (query_range[0], before)

    def behind_range(self, query_range: tuple[int, int]) -> tuple[int, int]:
        """Returns a range that shares the start bound and goes on past the other one.

        In ascending order it ends where the window's query does, because what follows may lie in the future. In
        descending order it goes on into the past.
        """
        if self._is_ascending:
            return query_range[0], self.before_seconds
        return max(0, min(query_range[0], self.since_seconds) - _PROBE_MARGIN_SECONDS), query_range[1]

    def second_behind(self, second_after: int | None) -> int | None:
        """Returns the first signed second past a range that ends at ``second_after``; None if there is none to query.

        ``second_after`` is None for a range that ends where the query does.
        """
        if second_after is not None or self._is_ascending:
            return second_after
        return 1 - self.since_seconds

    @property
    def open_second(self) -> int:
        """The first signed second that is not complete yet; the margin of a second before it is."""
        return self.since_seconds + 1 if self._is_ascending else 2 - self.before_seconds

    def offset_range(self, furthest_second: int) -> tuple[int, int]:
        """Returns (since, before) of a short range from the start bound to a few seconds past the reached second.

        Reading it completely leaves the reached second behind, also where the API's bounds are inclusive.
        """
        if self._is_ascending:
            return self.since_seconds, min(self.before_seconds, furthest_second + 3)
        return max(self.since_seconds, -furthest_second - 3), self.before_seconds

    def second_after_offset_range(self, furthest_second: int) -> int | None:
        """Returns the signed second reached once the offset range is read; None if that range ends the query."""
        if self.offset_range(furthest_second) == self.range:
            return None
        return furthest_second + 2 if self._is_ascending else furthest_second + 3

    def complete_up_to(self, furthest_second: int) -> datetime:
        """Returns the instant up to which, in the reading direction, every record has been seen."""
        return from_seconds(furthest_second if self._is_ascending else 1 - furthest_second)

    def is_past(self, window: TimeWindow, furthest_second: int) -> bool:
        """Returns whether every record of a window has been seen once a signed second is reached."""
        complete = self.complete_up_to(furthest_second)
        return complete >= window.end if self._is_ascending else complete <= window.start


def keeps_start_bound(records: Sequence[AuditRecord], requested: PageRequest) -> bool:
    """Returns whether a sorted page starts inside the requested range, with a second to spare for a rounded bound."""
    if not records:
        return True
    if requested.direction is Direction.ASC:
        return records[0].event_second >= requested.since_seconds - 1
    return records[0].event_second <= requested.before_seconds + 1
