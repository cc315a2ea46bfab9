"""Finds the records of an audit log that are new since a watcher's position.

A position is a floor second and the ids already seen at or after it. The floor stays ``lookback`` behind what was read,
so that a record which appears later than its event time is still found.

Invariant: a record is new until its id is in the position, or its event time is before the floor.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from airflow_audit_provider.core.api.query import AuditQuery
from airflow_audit_provider.core.api.record_filter import action_of
from airflow_audit_provider.core.api.records import AuditRecord, id_digest, is_undated
from airflow_audit_provider.core.paging.read_request import ReadRequest
from airflow_audit_provider.core.paging.window_reader import WindowReader
from airflow_audit_provider.core.windows.window import TimeWindow, format_second, from_seconds, second_of, to_ns

# Airflow asks that an asset state stays below 64 KB: 2,000 ids take 19 bytes each as JSON. A log with more records than
# that inside the lookback gets a shorter lookback.
_MAX_SEEN_IDS = 2_000
# A poll stops after this many new records and the next one continues, so memory stays bounded after a long outage.
_MAX_NEW_RECORDS = 10_000
_MAX_LISTED = 20


class WatchPosition(NamedTuple):
    """Position of a watcher: everything before ``floor_second`` is read, and the records in ``seen`` after it."""

    floor_second: int
    seen: frozenset[str] = frozenset()

    @classmethod
    def at(cls, instant: datetime) -> WatchPosition:
        """Returns the position of a watcher that wants every record from an instant on."""
        return cls(second_of(to_ns(instant)))

    @classmethod
    def from_state(cls, state: object) -> WatchPosition | None:
        """Returns the position in a value of :meth:`to_state`; None for any other value."""
        if not isinstance(state, Mapping):
            return None
        floor, seen = state.get("floor_second"), state.get("seen")
        if not isinstance(floor, int) or not isinstance(seen, list):
            return None
        return cls(floor, frozenset(map(str, seen)))

    def to_state(self) -> dict[str, Any]:
        """Returns the position as JSON values."""
        return {"floor_second": self.floor_second, "seen": sorted(self.seen)}

    def new_among(self, records: Sequence[AuditRecord]) -> list[AuditRecord]:
        """Returns the records not seen yet, in their order."""
        floor = self.floor_second
        return [record for record in records if record.event_second >= floor and _short(record.id) not in self.seen]

    def after(self, read: Sequence[AuditRecord], until_second: int, lookback: timedelta) -> WatchPosition:
        """Returns the position after all of ``[floor, until)`` was read; ``read`` holds its records, oldest first."""
        floor = max(self.floor_second, until_second - int(lookback.total_seconds()))
        # A record without a time of its own is given one by what was read, so it stays known as long as it shows.
        recent = [record for record in read if record.event_second >= floor or is_undated(record)]
        if len(recent) > _MAX_SEEN_IDS:
            floor = recent[-_MAX_SEEN_IDS].event_second
            recent = [record for record in recent if record.event_second >= floor]
        return WatchPosition(floor, frozenset(_short(record.id) for record in recent))

    def merged(self, other: WatchPosition) -> WatchPosition:
        """Returns the position of a watcher that saw what either saw: the later floor and the ids at or after it."""
        if other.floor_second > self.floor_second:
            return other
        return self._replace(seen=self.seen | other.seen)


class NewRecords(NamedTuple):
    """The result of one poll: new records, oldest first, and the position after them.

    ``is_complete`` is False if the poll stopped before now and the next one continues. ``cut_seconds`` is by how much
    the next poll looks back less than configured, because the position cannot hold more ids.
    """

    query: AuditQuery
    records: list[AuditRecord]
    position: WatchPosition
    is_complete: bool
    cut_seconds: int = 0

    def relative_to(self, position: WatchPosition) -> NewRecords:
        """Returns the subset that a watcher at another position has not seen, and its position after it."""
        return self._replace(records=position.new_among(self.records), position=position.merged(self.position))


class NewRecordsPoll:
    """One poll for new records: add the records its window reader returns, until ``is_enough``."""

    def __init__(self, query: AuditQuery, position: WatchPosition, now: datetime, lookback: timedelta) -> None:
        self._query = query
        self._position = position
        self._now = now
        self._lookback = lookback
        self._read: list[AuditRecord] = []
        self._new: list[AuditRecord] = []

    def window_reader(self) -> WindowReader | None:
        """Returns a reader from the position to now, oldest first; None if the position is ahead of the clock."""
        start = from_seconds(self._position.floor_second)
        if start >= self._now:
            return None
        # The position moves past the records older than the lookback. In a range of up to two lookbacks, the previous
        # poll has requested them too, so one false empty response hides none.
        request = ReadRequest(
            self._query.version, TimeWindow(start, self._now), proves_empty=self._now - start > 2 * self._lookback
        )
        return WindowReader(request, pages_per_cut=1)

    @property
    def is_enough(self) -> bool:
        """Whether to stop here and continue with the next poll."""
        return len(self._new) >= _MAX_NEW_RECORDS

    def add(self, records: Sequence[AuditRecord]) -> None:
        """Adds records that were read, oldest first."""
        self._read.extend(records)
        self._new.extend(self._position.new_among(records))

    def new_records(self) -> NewRecords:
        """Returns the new records among those added, and the position after them."""
        is_complete = not self.is_enough
        until = second_of(to_ns(self._now)) if is_complete else self._read[-1].event_second
        position = self._position.after(self._read, until, self._lookback)
        cut_seconds = position.floor_second - self._position.after((), until, self._lookback).floor_second
        # If the poll stopped early, ids seen in the part that was not read again must be kept.
        seen = position if is_complete else position.merged(self._position)
        return NewRecords(self._query, self._new, seen, is_complete, cut_seconds)


def event_payload(query: AuditQuery, records: Sequence[AuditRecord]) -> dict[str, Any]:
    """Returns an event's plain values for one or more records, oldest first; equal records give equal values.

    ``window_start`` and ``window_end`` are the half-open range of whole seconds around the records, ``ids_sha256`` is a
    digest of all ids, ``records`` lists the first 20 records and ``actions`` counts the 20 most frequent action types.
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
        "actions": dict(sorted(actions.most_common(_MAX_LISTED))),
        "records": [_listed(record) for record in records[:_MAX_LISTED]],
    }


def _listed(record: AuditRecord) -> dict[str, Any]:
    return {"id": record.id, "event_at": format_second(record.event_second), "action": action_of(record)}


def _short(record_id: str) -> str:
    """Returns 16 hexadecimal digits for an id; two of 2,000 ids collide with a probability of about 10^-13."""
    return f"{id_digest(record_id):016x}"
