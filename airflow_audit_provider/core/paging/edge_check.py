"""Compares a window that was read with a second look at both its edges, its first and its last page, after a pause.

A replica of the API that lags behind hides the newest records of a window, and no response of that replica shows it.
The last page is requested twice, so that answers which alternate between two replicas come from both.

Records that only the second look shows are inserted where they belong. That is possible for the newest records only,
which are held back until then; older ones are staged.

Invariant: a record that was read is never dropped. What the second look shows is either added whole or refused whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from airflow_audit_provider.core.api.query import MAX_PAGE_SIZE, Direction
from airflow_audit_provider.core.api.read_stats import ReadStats
from airflow_audit_provider.core.api.records import AuditRecord, in_order
from airflow_audit_provider.core.paging.errors import edges_differ
from airflow_audit_provider.core.paging.undated import only_dated
from airflow_audit_provider.core.windows.window import TimeWindow

# The last page, once more, and the first page: two answers in a row come from both of two replicas that alternate.
LOOKS = (Direction.DESC, Direction.DESC, Direction.ASC)


class EdgeCheck:
    """Holds back the newest records of a window; compares both its edges with pages that are requested later.

    ``window`` is what is read, in order, in groups that end at whole seconds. ``stats`` counts the rows of the pages,
    which have at most ``page_size`` rows.
    """

    def __init__(self, window: TimeWindow, page_size: int = MAX_PAGE_SIZE) -> None:
        self.stats = ReadStats()
        self._page_size = page_size
        self._window = window
        self._held: list[list[AuditRecord]] = []
        self._held_count = 0
        # Of the records that are not held any more: the ids of the first page, and up to when they are all of them.
        self._first_ids: set[str] = set()
        self._first_until_ns: int | None = None
        self._pages: list[tuple[Direction, dict[str, AuditRecord]]] = []

    @property
    def known_second(self) -> int | None:
        """The whole second of the newest record, None if there is none."""
        return self._held[-1][-1].event_second if self._held else None

    def hold(self, records: list[AuditRecord]) -> Iterator[list[AuditRecord]]:
        """Takes the next records of the window, at least one; yields those that no last page can reach any more."""
        self._held.append(records)
        self._held_count += len(records)
        while self._held_count - len(self._held[0]) >= self._page_size:
            released = self._held.pop(0)
            self._held_count -= len(released)
            if len(self._first_ids) < self._page_size:
                self._first_ids.update(record.id for record in released)
                self._first_until_ns = released[-1].event_ns
            yield released

    def receive(self, direction: Direction, records: Sequence[AuditRecord]) -> None:
        """Takes a page of the second look.

        Undated records are left out: their place depends on other pages.
        """
        start_ns, end_ns = self._window.start_ns, self._window.end_ns
        inside = [record for record in only_dated(list(records)) if start_ns <= record.event_ns < end_ns]
        self.stats.seen_count += len(records)
        self.stats.repeated_count += len(inside)
        self.stats.outside_count += len(records) - len(inside)
        self._pages.append((direction, {record.id: record for record in inside}))

    def release(self) -> list[list[AuditRecord]]:
        """Returns the records that are held, in groups, with those that only the second look showed.

        Raises ``SourceUnavailableError`` if such a record is older than those that are held, or if more records may be
        missing between it and those that were read.
        """
        held = [record for group in self._held for record in group]
        known_ids = self._first_ids.union(record.id for record in held)
        missing = self._missing(known_ids, held)
        if not missing:
            return self._held
        is_insertable = self._first_until_ns is None or min(missing.values()).event_ns >= held[0].event_ns
        if not (is_insertable and self._is_gapless(known_ids, missing)):
            raise edges_differ(list(missing), str(self._window))
        self.stats.repeated_count -= len(missing)
        return [in_order([*held, *missing.values()])]

    def _missing(self, known_ids: set[str], held: list[AuditRecord]) -> dict[str, AuditRecord]:
        """Returns the records that only the second look showed, where every record that was read is still known."""
        shown = {record_id: record for _, page in self._pages for record_id, record in page.items()}
        missing = {record_id: record for record_id, record in shown.items() if record_id not in known_ids}
        until_ns = self._first_until_ns
        if until_ns is None:
            return missing
        from_ns = held[0].event_ns
        return {record_id: one for record_id, one in missing.items() if not until_ns < one.event_ns < from_ns}

    def _is_gapless(self, known_ids: set[str], missing: dict[str, AuditRecord]) -> bool:
        """Returns whether nothing can be missing between the records that were read and those that were not.

        A last page shows all records up to the end, so one before those that are missing must have been read, or be on
        a first page too. A first page shows all records from the start, so the same must hold for one after them.
        """
        return all(
            _is_enclosed(direction, page, missing, known_ids.union(*self._pages_in(direction.opposite)))
            for direction, page in self._pages
        )

    def _pages_in(self, direction: Direction) -> list[dict[str, AuditRecord]]:
        return [page for its_direction, page in self._pages if its_direction is direction]


def _is_enclosed(
    direction: Direction, page: dict[str, AuditRecord], missing: dict[str, AuditRecord], reached_ids: set[str]
) -> bool:
    """Returns whether the missing rows of a page lie nearer to its edge than a row that is reached otherwise."""
    sign = direction.sign
    missing_seconds = [sign * record.event_second for record_id, record in page.items() if record_id in missing]
    reached_seconds = [sign * record.event_second for record_id, record in page.items() if record_id in reached_ids]
    return not missing_seconds or (bool(reached_seconds) and max(reached_seconds) >= max(missing_seconds))
