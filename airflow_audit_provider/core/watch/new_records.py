"""What is new in an audit log since somebody last looked, and up to where he has seen it.

Knows: the mark of a watcher, records that come late, what an event tells of records.
Must not know: where a mark is kept, how often is looked (``rhythm``), which records a watcher wants (``matching``).
Its one rule: a record is new until its id is remembered, or its second lies before the mark's floor. The floor stays
``lookback`` behind what was read, so that a record which comes later than its event time is still found.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from airflow_audit_provider.core.api.query import AuditQuery
from airflow_audit_provider.core.api.record_filter import action_of
from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.core.paging.read_request import ReadRequest
from airflow_audit_provider.core.paging.window_reader import WindowReader
from airflow_audit_provider.core.windows.window import TimeWindow, format_second, from_seconds, second_of, to_ns

# 2000 ids of 19 bytes fit into the 64 KB Airflow wants a state to keep to. A log with more records inside the lookback
# is looked back on less far.
_MOST_REMEMBERED = 2_000
# A look ends after so many new records, and the next one goes on: memory stays bounded after a long outage.
_ENOUGH_AT_ONCE = 10_000
_MOST_NAMED = 20


class WatchPosition(NamedTuple):
    """Up to where a watcher has seen a log: everything before ``floor_second``, and later the ``seen`` ids' records."""

    floor_second: int
    seen: frozenset[str] = frozenset()

    @classmethod
    def at(cls, instant: datetime) -> WatchPosition:
        """Return the mark of somebody who wants everything from an instant on."""
        return cls(second_of(to_ns(instant)))

    @classmethod
    def from_state(cls, state: object) -> WatchPosition | None:
        """Read what :meth:`to_state` gave; None for anything else."""
        if not isinstance(state, Mapping):
            return None
        floor, seen = state.get("floor_second"), state.get("seen")
        if not isinstance(floor, int) or not isinstance(seen, list):
            return None
        return cls(floor, frozenset(map(str, seen)))

    def to_state(self) -> dict[str, Any]:
        """Return the mark as JSON values."""
        return {"floor_second": self.floor_second, "seen": sorted(self.seen)}

    def new_among(self, records: Sequence[AuditRecord]) -> list[AuditRecord]:
        """Return the records not seen yet, in their order."""
        floor = self.floor_second
        return [record for record in records if record.event_second >= floor and _short(record.id) not in self.seen]

    def after(self, read: Sequence[AuditRecord], until_second: int, lookback: timedelta) -> WatchPosition:
        """Return the mark when all of ``[floor, until)`` was read; ``read`` are its records, oldest first."""
        floor = max(self.floor_second, until_second - int(lookback.total_seconds()))
        recent = [record for record in read if record.event_second >= floor]
        if len(recent) > _MOST_REMEMBERED:
            floor = recent[-_MOST_REMEMBERED].event_second
            recent = [record for record in recent if record.event_second >= floor]
        return WatchPosition(floor, frozenset(_short(record.id) for record in recent))

    def merged(self, other: WatchPosition) -> WatchPosition:
        """Return the mark of somebody who has seen what either has: the later floor, and the ids that matter there."""
        if other.floor_second > self.floor_second:
            return other
        return self._replace(seen=self.seen | other.seen)


class NewRecords(NamedTuple):
    """What a look at ``query`` brought: new records, oldest first, the mark after it, and whether it read up to now.

    ``cut_seconds`` says by how much the next look looks back less far than asked for, because of a crowd of records.
    """

    query: AuditQuery
    records: list[AuditRecord]
    mark: WatchPosition
    is_complete: bool
    cut_seconds: int = 0

    def relative_to(self, seen: WatchPosition) -> NewRecords:
        """Return what of this is new to somebody with another mark, and his mark after it."""
        return self._replace(records=seen.new_among(self.records), mark=seen.merged(self.mark))


class Poll:
    """One look at a log: feed it the records of its reading, oldest first, until it has enough; ask for the news."""

    def __init__(self, query: AuditQuery, mark: WatchPosition, now: datetime, lookback: timedelta) -> None:
        self._query = query
        self._mark = mark
        self._now = now
        self._lookback = lookback
        self._read: list[AuditRecord] = []
        self._new: list[AuditRecord] = []

    def reading(self) -> WindowReader | None:
        """Return what to read; None while the mark lies ahead of the clock."""
        start = from_seconds(self._mark.floor_second)
        if start >= self._now:
            return None
        return WindowReader(ReadRequest(self._query.version, TimeWindow(start, self._now)), pages_per_cut=1)

    @property
    def has_enough(self) -> bool:
        """Whether to break off here and go on in another look."""
        return len(self._new) >= _ENOUGH_AT_ONCE

    def add(self, records: Sequence[AuditRecord]) -> None:
        """Take in what was read."""
        self._read.extend(records)
        self._new.extend(self._mark.new_among(records))

    def new_records(self) -> NewRecords:
        """Return what was found, and the mark after it."""
        is_complete = not self.has_enough
        until = second_of(to_ns(self._now)) if is_complete else self._read[-1].event_second
        mark = self._mark.after(self._read, until, self._lookback)
        cut_seconds = mark.floor_second - self._mark.after((), until, self._lookback).floor_second
        # What was seen earlier of the time behind a break is not forgotten.
        seen = mark if is_complete else mark.merged(self._mark)
        return NewRecords(self._query, self._new, seen, is_complete, cut_seconds)


def event_payload(query: AuditQuery, records: Sequence[AuditRecord]) -> dict[str, Any]:
    """Return an event's plain values for one or more records of a log, oldest first; the same for the same records.

    ``window_start`` and ``window_end`` are whole seconds around them, half-open; ``ids_sha256`` stands for all ids,
    ``records`` names the first 20 and ``actions`` counts the 20 commonest action types.
    """
    first, last = records[0].event_second, records[-1].event_second
    actions = Counter(action_of(record) or "" for record in records)
    return {
        "api_version": str(query.version),
        "scope": str(query.scope),
        "scope_id": query.scope_id,
        "window_start": format_second(first),
        "window_end": format_second(last + 1),
        "record_count": len(records),
        "ids_sha256": hashlib.sha256("\n".join(sorted(record.id for record in records)).encode()).hexdigest(),
        "actions": dict(sorted(actions.most_common(_MOST_NAMED))),
        "records": [_named(record) for record in records[:_MOST_NAMED]],
    }


def _named(record: AuditRecord) -> dict[str, Any]:
    return {"id": record.id, "event_at": format_second(record.event_second), "action": action_of(record)}


def _short(record_id: str) -> str:
    """Return 16 hexadecimal digits for an id of any length; that two of 2000 ids share them has odds of 1 to 10^13."""
    return hashlib.sha256(record_id.encode()).hexdigest()[:16]
