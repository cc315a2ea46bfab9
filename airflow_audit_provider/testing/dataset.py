"""Dataset: generated days, and records added by a test.

Invariant: counting a day does not generate it; generated days are cached up to a bound of bytes.
"""

from __future__ import annotations

import threading
from bisect import insort
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec

from airflow_audit_provider.testing.daily_pattern import count_on
from airflow_audit_provider.testing.instants import day_number, day_of, parse_instant
from airflow_audit_provider.testing.misbehaviour import RESHAPING, Switch
from airflow_audit_provider.testing.odd_records import reshape
from airflow_audit_provider.testing.records import Feed, Row, generate
from airflow_audit_provider.testing.settings import Settings

Keep = Callable[[Row], bool]
_FILTERED_DAYS = 2048


class _Waiting(NamedTuple):
    """A record that is not visible before a time or before a request."""

    feed: Feed
    row: Row
    visible_ns: int
    at_request: int


class Dataset:
    """All records of a fake, by day."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._switches: tuple[Switch, ...] = ()
        self._days: OrderedDict[tuple[Feed, int], tuple[Row, ...]] = OrderedDict()
        self._day_bytes: dict[tuple[Feed, int], int] = {}
        self._counts: dict[tuple[Feed, int], int] = {}
        self._added: dict[tuple[Feed, int], list[Row]] = {}
        self._filtered: OrderedDict[tuple[Feed, int, str], tuple[Row, ...]] = OrderedDict()
        self._waiting: list[_Waiting] = []
        self._lock = threading.RLock()  # the truth is read while requests are answered
        self._first_v2_day = day_number(settings.v2_starts_on) if settings.v2_starts_on else None

    def reshape(self, switches: Iterable[Switch]) -> None:
        """Sets the misbehaviours that change records."""
        wanted = tuple(switch for switch in switches if switch.kind in RESHAPING)
        if wanted != self._switches:
            self._switches = wanted
            self._days.clear()
            self._day_bytes.clear()
            self._filtered.clear()

    def add(self, feed: Feed, raw: bytes, *, visible_ns: int = 0, at_request: int = 0) -> Row:
        """Adds a record, visible from a time and an audit request on; raises ValueError if it has no time or id."""
        row = row_of(raw)
        if visible_ns or at_request:
            self._waiting.append(_Waiting(feed, row, visible_ns, at_request))
        else:
            self._insert(feed, row)
        return row

    def reveal(self, now_ns: int, request: int) -> None:
        """Makes the records visible that waited for this time and this request."""
        still: list[_Waiting] = []
        for waiting in self._waiting:
            if waiting.visible_ns <= now_ns and waiting.at_request <= request:
                self._insert(waiting.feed, waiting.row)
            else:
                still.append(waiting)
        self._waiting = still

    def count(self, feed: Feed, day: int) -> int:
        """Returns the number of records of a day without generating them."""
        key = (feed, day)
        if key not in self._counts:
            self._counts[key] = self._generated_count(feed, day) + len(self._added.get(key, ()))
        return self._counts[key]

    def rows(self, feed: Feed, day: int) -> tuple[Row, ...]:
        """Returns a day's records sorted by (time, id), generated or from the cache."""
        with self._lock:
            return self._remembered((feed, day))

    def _remembered(self, key: tuple[Feed, int]) -> tuple[Row, ...]:
        if key in self._days:
            self._days.move_to_end(key)
            return self._days[key]
        rows = self._made(*key)
        if key in self._added:
            rows = tuple(sorted([*rows, *self._added[key]]))
        self._remember(key, rows)
        return rows

    def filtered(self, feed: Feed, day: int, name: str, keep: Keep) -> tuple[Row, ...]:
        """Returns the records of a day that a filter keeps; ``name`` identifies the filter in the cache."""
        key = (feed, day, name)
        if key not in self._filtered:
            self._filtered[key] = tuple(row for row in self.rows(feed, day) if keep(row))
            if len(self._filtered) > _FILTERED_DAYS:
                self._filtered.popitem(last=False)
        return self._filtered[key]

    def _made(self, feed: Feed, day: int) -> tuple[Row, ...]:
        count = self._generated_count(feed, day)
        rows = generate(self._settings.seed, feed, day, count, self._settings.user_id) if count else ()
        return reshape(rows, self._switches, feed.version) if self._switches else rows

    def _generated_count(self, feed: Feed, day: int) -> int:
        mean = self._settings.records_per_day
        if mean == 0 or (feed.version == "v2" and self._first_v2_day is not None and day < self._first_v2_day):
            return 0
        return mean if self._settings.even_days else count_on(self._settings.seed, str(feed), day, mean)

    def _remember(self, key: tuple[Feed, int], rows: tuple[Row, ...]) -> None:
        """Caches a day, and evicts the least recently used days beyond the bound."""
        self._days[key] = rows
        self._day_bytes[key] = sum(len(row.raw) for row in rows)
        total_bytes = sum(self._day_bytes.values())
        while total_bytes > self._settings.cache_bytes and len(self._days) > 1:
            oldest, _ = self._days.popitem(last=False)
            total_bytes -= self._day_bytes.pop(oldest)

    def _insert(self, feed: Feed, row: Row) -> None:
        with self._lock:
            self._inserted((feed, day_of(row.time_ns)), row)

    def _inserted(self, key: tuple[Feed, int], row: Row) -> None:
        insort(self._added.setdefault(key, []), row)
        self._counts.pop(key, None)
        self._days.pop(key, None)
        self._day_bytes.pop(key, None)
        for known in [known for known in self._filtered if known[:2] == key]:
            del self._filtered[known]


def row_of(raw: bytes) -> Row:
    """Returns the row of a record of either version; raises ValueError if it has no time or id."""
    record: dict[str, Any] = msgspec.json.decode(raw)
    when = record.get("when") or (record.get("action") or {}).get("time")
    if not when or not record.get("id"):
        raise ValueError("a record needs an id and its time in when (v1) or action.time (v2)")
    return Row(parse_instant(when), record["id"], bytes(raw))
