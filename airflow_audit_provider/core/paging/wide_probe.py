"""Looks past a range for a record that shows where the rows of the range end.

A record before the range, in a list that starts at its end, shows that no row of the range is hidden; so does a record
behind the range, in a list that starts at its beginning. This is the proof that depends on the fewest parameters: one
bound, and an order that the records themselves show.

Invariant: a proof needs a list that shows its order. Rows of one second are in order whichever direction was requested,
so such a list counts only if it also shows a row of the range.
"""

from __future__ import annotations

from collections.abc import Sequence

from airflow_audit_provider.core.api.query import Direction, PageRequest
from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.core.paging.end_of_data import MIN_MIRRORED_ROWS, StopReason
from airflow_audit_provider.core.paging.query_bounds import QueryBounds
from airflow_audit_provider.core.paging.seen_records import SeenRecords
from airflow_audit_provider.exceptions import SourceError, SourceProtocolError


class WideProbe:
    """Requests for the rows around a range; drive it by ``request`` and the methods that receive a response.

    ``shown`` are the known rows that the range can show, and ``first_ns`` is the time from which on a row is one of the
    range. ``looks_later`` is whether to look behind the range and not before it. It ends with ``proof`` or with the
    given ``problem``; ``ahead`` has unknown rows of the range, which contradict the pages before.
    """

    def __init__(
        self,
        bounds: QueryBounds,
        query_range: tuple[int, int],
        shown: Sequence[AuditRecord],
        first_ns: int,
        problem: SourceProtocolError,
        *,
        looks_later: bool,
    ) -> None:
        self.proof: StopReason | None = None
        self.problem: SourceError | None = None
        self.ahead: list[AuditRecord] = []
        self._error = problem
        self._shown = shown
        self._first_ns = first_ns
        self._end_second = query_range[1] - 1
        later = bounds.later_range(query_range)
        # A month may start before the retention. Without it, the range is one that the API has answered.
        self._ranges = [later] if looks_later else [bounds.wide_range(query_range), query_range]
        self._later_ranges = [] if looks_later else [later]
        self._looks_later = looks_later

    def request(self, row_count: int) -> PageRequest:
        """Returns the next request."""
        direction = Direction.ASC if self._looks_later else Direction.DESC
        return PageRequest(*self._ranges[0], direction, row_count)

    def receive(self, records: Sequence[AuditRecord], seen: SeenRecords) -> None:
        """Decides by the rows next to the range."""
        self.ahead = [record for record in records if record not in seen and self._is_in_range(record)]
        is_beyond = any(not self._is_in_range(record) for record in records)
        if self.ahead:
            return
        if is_beyond and shows_order(records, self._shown):
            self.proof = StopReason.NEIGHBOUR if self._looks_later else StopReason.OTHER_SIDE
        elif not self._shown and not records:
            # Three responses in a row were empty, for three ranges and from both sides.
            self.proof = StopReason.EMPTY_PAGE
        elif not self._looks_later and len(records) == len(self._shown) < MIN_MIRRORED_ROWS:
            # So few rows, shown alike from both sides, are less than any page that was ever observed to be full.
            self.proof = StopReason.FEW_ROWS
        else:
            self._try_later()

    def receive_refusal(self, error: SourceError) -> None:
        """Handles a status 400, because a bound lies before the retention or in the future."""
        del self._ranges[0]
        if not self._ranges:
            self.problem = self._error if self._looks_later else error

    def receive_wrong_page(self) -> None:
        """Handles a page that is out of order or outside of the requested bounds."""
        self._try_later()

    def _try_later(self) -> None:
        self._ranges, self._later_ranges, self._looks_later = self._later_ranges, [], True
        if not self._ranges:
            self.problem = self._error

    def _is_in_range(self, record: AuditRecord) -> bool:
        if self._looks_later:
            return record.event_second < self._end_second
        return record.event_ns >= self._first_ns


def shows_order(records: Sequence[AuditRecord], nearest: Sequence[AuditRecord]) -> bool:
    """Returns whether a sorted list shows that it starts at the requested end of a range; ``nearest`` are rows there.

    A server that ignores the direction lists the other end. The rows of two seconds show the order, and so does a row
    that is known to be near. Where none is known, a list from the other end hides nothing either.
    """
    if not nearest or records[0].event_second != records[-1].event_second:
        return True
    nearest_ids = {record.id for record in nearest}
    return any(record.id in nearest_ids for record in records)
