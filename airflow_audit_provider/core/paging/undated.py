"""Places records without an event time of their own among the dated records that the API lists around them.

A list is sorted by the API's own time, so such a record happened between the dated rows before and after it. It is
given the time of the dated row before it in ascending order, or the window's start if there is none: both are the same
on every page and for every division of a window, because pages overlap.

Invariant: a record whose place may lie inside the window is delivered; of two deliveries, the first counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from airflow_audit_provider.core.api.query import Direction, PageRequest
from airflow_audit_provider.core.api.records import AuditRecord, at_time, has_odd, is_undated
from airflow_audit_provider.core.windows.window import SECOND_NS, TimeWindow


class _Neighbours(NamedTuple):
    """Times of the nearest dated rows on both sides of a row, None where a page has none."""

    earlier_ns: int | None
    later_ns: int | None

    def clamp(self, time_ns: int) -> int:
        """Returns the time nearest to the given one that lies between the neighbours."""
        time_ns = time_ns if self.later_ns is None else min(time_ns, self.later_ns)
        return time_ns if self.earlier_ns is None else max(time_ns, self.earlier_ns)


class UndatedRecords:
    """The undated records that one paginator has seen, each with its dated neighbours on any page.

    ``query_range`` has the widest bounds (since, before) that the paginator reads. Proofs also look past them. An
    undated record that only such a page shows, with no neighbour to say that it lies within them, lies past them:
    otherwise the pages of the range itself would show it.
    """

    def __init__(self, query_range: tuple[int, int]) -> None:
        self._since_seconds, self._before_seconds = query_range
        self._records: dict[str, AuditRecord] = {}
        self._not_before_ns: dict[str, int] = {}
        self._not_after_ns: dict[str, int] = {}
        # Time of the last row of the latest page in each direction.
        self._last_ns: dict[Direction, int] = {}

    def placed(self, records: list[AuditRecord], requested: PageRequest) -> list[AuditRecord]:
        """Returns a page in which each undated record has a neighbour's time, so that the page is sorted."""
        is_undated_page = has_odd(records) and any(map(is_undated, records))
        placed = self._with_neighbours(records, requested) if is_undated_page else records
        if records:
            self._last_ns[requested.direction] = placed[-1].event_ns
        return placed

    def inside(self, window: TimeWindow) -> list[AuditRecord]:
        """Returns the undated records that may lie in a window, each with the time that it is given there."""
        return [
            at_time(record, max(self._not_before_ns.get(record_id, window.start_ns), window.start_ns))
            for record_id, record in self._records.items()
            if self._not_before_ns.get(record_id, window.start_ns) < window.end_ns
            and self._not_after_ns.get(record_id, window.end_ns) >= window.start_ns
        ]

    @property
    def count(self) -> int:
        """Number of undated records seen."""
        return len(self._records)

    def _with_neighbours(self, records: list[AuditRecord], requested: PageRequest) -> list[AuditRecord]:
        is_ascending = requested.direction is Direction.ASC
        ascending = records if is_ascending else records[::-1]
        # A cursor leads to the rows after those of the page before, and so does the number of exactly the next row. A
        # page of another size overlaps the pages before.
        continues = requested.cursor is not None or (requested.page > 1 and requested.page_size == 1)
        last_ns = self._last_ns.get(requested.direction) if continues else None
        earlier = _nearest_dated(ascending, last_ns if is_ascending else None)
        later = _nearest_dated(ascending[::-1], None if is_ascending else last_ns)[::-1]
        placed: list[AuditRecord] = []
        for record, earlier_ns, later_ns in zip(ascending, earlier, later, strict=True):
            if is_undated(record):
                neighbours = _Neighbours(earlier_ns, later_ns)
                self._note(record, neighbours, requested)
                place_ns = self._place(record.id, neighbours, requested)
                # What is known of two undated records in a row may differ; the page says which one is earlier.
                record = at_time(record, max(place_ns, placed[-1].event_ns) if placed else place_ns)
            placed.append(record)
        return placed if is_ascending else placed[::-1]

    def _place(self, record_id: str, neighbours: _Neighbours, requested: PageRequest) -> int:
        """Returns a time between the neighbours on a page, the same on each page that shows the record."""
        earliest_ns, latest_ns = requested.since_seconds * SECOND_NS, requested.before_seconds * SECOND_NS
        if record_id not in self._records:
            if self._looks_earlier(requested):
                return neighbours.clamp(earliest_ns if neighbours.earlier_ns is None else neighbours.earlier_ns)
            return neighbours.clamp(latest_ns if neighbours.later_ns is None else neighbours.later_ns)
        known_ns = self._not_before_ns.get(record_id, neighbours.later_ns)
        if known_ns is None:
            known_ns = earliest_ns + SECOND_NS if requested.direction is Direction.ASC else latest_ns - SECOND_NS
        return neighbours.clamp(max(known_ns, earliest_ns))

    def _note(self, record: AuditRecord, neighbours: _Neighbours, requested: PageRequest) -> None:
        """Notes a record and its neighbours, unless it is new and may lie past the range that is read."""
        earlier_ns, later_ns = neighbours
        if record.id not in self._records and not self._is_within(neighbours, requested):
            return
        self._records.setdefault(record.id, record)
        if earlier_ns is not None:
            self._not_before_ns[record.id] = max(earlier_ns, self._not_before_ns.get(record.id, earlier_ns))
        if later_ns is not None:
            self._not_after_ns[record.id] = min(later_ns, self._not_after_ns.get(record.id, later_ns))

    def _is_within(self, neighbours: _Neighbours, requested: PageRequest) -> bool:
        """Returns whether a record that a page shows certainly lies in the range that is read."""
        earlier_ns, later_ns = neighbours
        is_late_enough = earlier_ns is not None and earlier_ns >= self._since_seconds * SECOND_NS
        is_early_enough = later_ns is not None and later_ns <= self._before_seconds * SECOND_NS
        looks_later = requested.before_seconds > self._before_seconds
        return (is_late_enough or not self._looks_earlier(requested)) and (is_early_enough or not looks_later)

    def _looks_earlier(self, requested: PageRequest) -> bool:
        return requested.since_seconds < self._since_seconds


def only_dated(records: list[AuditRecord]) -> list[AuditRecord]:
    """Returns the records that have a time of their own."""
    return [record for record in records if not is_undated(record)] if has_odd(records) else records


class UndatedOnce:
    """Drops undated records that were delivered before; ``ids`` are those of earlier deliveries."""

    def __init__(self, ids: Iterable[str] = ()) -> None:
        self._ids = set(ids)

    def first_of(self, records: list[AuditRecord]) -> list[AuditRecord]:
        """Returns the records without undated ones that came before."""
        if not has_odd(records):
            return records
        kept = [record for record in records if not (is_undated(record) and record.id in self._ids)]
        self._ids.update(record.id for record in kept if is_undated(record))
        return kept


def _nearest_dated(records: Sequence[AuditRecord], time_ns: int | None) -> list[int | None]:
    """Returns for each record the time of the last dated one up to it in their order; ``time_ns`` precedes them."""
    times = []
    for record in records:
        time_ns = time_ns if is_undated(record) else record.event_ns
        times.append(time_ns)
    return times
