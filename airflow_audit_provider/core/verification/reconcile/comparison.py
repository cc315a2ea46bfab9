"""Compares the rows of a Logpush archive with the records of a committed dataset, by id and by content.

::

    add      records of the dataset and rows of the archive, in any order; each is reduced to its id, its time and one
             hash for each column, and put in the bucket of its id
    finish   bucket by bucket: a record without a row is missing there, a row without a record is missing here, a second
             row is double, and two that differ in a column that both have are differing

A row is found wherever it lies, however late its file came and whatever time it states, because rows are joined by id
over the whole range.

Invariant: each record of the range is counted once, as delivered or as missing there; memory does not grow with the
number of records.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

import msgspec

from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord, has_digest_id, is_undated
from airflow_audit_provider.core.ports import SpillStorage
from airflow_audit_provider.core.verification.reconcile.content import (
    archived_hashes,
    committed_hashes,
    compared_columns,
    differing_columns,
)
from airflow_audit_provider.core.verification.reconcile.fields import DATASETS
from airflow_audit_provider.core.verification.reconcile.listed import Counts, Listed, Lists
from airflow_audit_provider.core.verification.reconcile.spilled_rows import BUCKET_COUNT, SpilledRows
from airflow_audit_provider.core.windows.window import SECOND_NS, TimeWindow

_MINUTE_NS = 60 * SECOND_NS
# The unit of a time that a row has and that cannot be read.
UNREADABLE = 0


class ArchivedRow(NamedTuple):
    """A row of a Logpush file: id, time in nanoseconds, the smallest unit of that time, and its fields.

    ``event_ns`` is None for a row without a readable time; ``unit_ns`` is ``UNREADABLE`` then if it has the field.
    """

    id: str
    event_ns: int | None
    unit_ns: int
    fields: dict[str, object]


class _Committed(msgspec.Struct, array_like=True, frozen=True, gc=False):
    id: str
    event_ns: int
    window: int
    is_dated: bool
    hashes: bytes


class _Archived(msgspec.Struct, array_like=True, frozen=True, gc=False):
    id: str
    event_ns: int | None
    unit_ns: int
    file: int
    hashes: bytes


class MissingRecord(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The id of a record that the archive does not have."""

    id: str


class ArchiveFile(NamedTuple):
    """A file whose rows are compared: its key, and the last instant of its range, None if its name states none.

    ``is_repair`` is whether an earlier run wrote it beside the archive.
    """

    key: str
    end_ns: int | None = None
    is_repair: bool = False


class Comparison:
    """A comparison of one range; ``windows`` are the committed ones that overlap it, sorted.

    After :meth:`finish`, ``counts`` has a :class:`Counts` for each window, ``lists`` the first records of each kind,
    ``missing`` the ids that the archive does not have, by window, and ``silent`` the minutes.
    """

    def __init__(
        self, version: ApiVersion, time_range: TimeWindow, windows: Sequence[TimeWindow], spill: SpillStorage
    ) -> None:
        self.lists = Lists()
        self.counts = [Counts() for _ in windows]
        self.lateness = Lateness()
        # Another function is set before rows are added if the dataset has a privacy rule.
        self.hash_row: Callable[[ApiVersion, Mapping[str, object]], bytes] = archived_hashes
        self.repaired_count = self.undated_count = self.uncommitted_count = self.unidentified_count = 0
        self.missing: SpilledRows[MissingRecord] = SpilledRows(spill, MissingRecord, max(1, len(windows)))
        self.minutes = Minutes(time_range)
        self.version = version
        self.time_range = time_range
        self.windows = windows
        self._starts = [window.start_ns for window in windows]
        self._latest_ends = list(accumulate((window.end_ns for window in windows), max))
        self._files: list[ArchiveFile] = []
        self._committed: SpilledRows[_Committed] = SpilledRows(spill, _Committed)
        self._archived: SpilledRows[_Archived] = SpilledRows(spill, _Archived)
        self._has_times = False
        # The hashes of all rows, combined by OR: a column that no row has stays ABSENT, which is zero.
        self._stated = 0

    def add_committed(self, window: int, records: Iterable[AuditRecord]) -> None:
        """Adds records of a committed window; those outside of the range are left out."""
        for record in records:
            if not self.time_range.contains(record.event_ns):
                continue
            if has_digest_id(record):
                # Neither side has an id by which the record could be found on the other one.
                self.unidentified_count += 1
            else:
                hashes = committed_hashes(self.version, record)
                row = _Committed(record.id, record.event_ns, window, not is_undated(record), hashes)
                self._committed.add(hash(record.id) % BUCKET_COUNT, row)

    def add_archived(self, file: ArchiveFile, rows: Iterable[ArchivedRow]) -> None:
        """Adds the rows of a file."""
        self._files.append(file)
        number = len(self._files) - 1
        for row in rows:
            hashes = self.hash_row(self.version, row.fields)
            self._stated |= int.from_bytes(hashes, "little")
            self._has_times |= row.event_ns is not None
            archived = _Archived(row.id, row.event_ns, row.unit_ns, number, hashes)
            self._archived.add(hash(row.id) % BUCKET_COUNT, archived)

    @property
    def columns(self) -> list[str]:
        """The labels of the columns that could be compared in at least one row, sorted."""
        dataset = DATASETS[self.version]
        size_bytes = len(dataset.columns) * array("q").itemsize
        found = compared_columns(self.version, self._stated.to_bytes(size_bytes, "little"))
        return sorted([*found, *([dataset.time_field] if self._has_times else [])])

    def finish(self) -> None:
        """Compares everything that was added."""
        for bucket in range(BUCKET_COUNT):
            committed = {row.id: row for row in self._committed.rows(bucket)}
            copies: dict[str, list[_Archived]] = {}
            for row in self._archived.rows(bucket):
                copies.setdefault(row.id, []).append(row)
            for record in committed.values():
                self._compare(record, copies.get(record.id, []))
            for rows in copies.values():
                if rows[0].id not in committed:
                    self._add_unknown(rows)

    def _compare(self, record: _Committed, copies: Sequence[_Archived]) -> None:
        counts = self.counts[record.window]
        counts.record_count += 1
        self.minutes.add(record.event_ns, is_delivered=any(not self._files[row.file].is_repair for row in copies))
        if not copies:
            counts.missing_there += 1
            self.missing.add(record.window, MissingRecord(record.id))
            self.lists.missing_there.add(Listed(record.event_ns, record.id))
            return
        self._compare_copies(record, copies)
        delivered = [row for row in copies if not self._files[row.file].is_repair]
        if not delivered:
            self.repaired_count += 1
        ends = [end for row in delivered if (end := self._files[row.file].end_ns) is not None]
        if ends:
            first = min(delivered, key=lambda row: (self._files[row.file].end_ns or 1 << 63, self._key(row)))
            late_ns = min(ends) - record.event_ns
            self.lateness.add(late_ns // SECOND_NS)
            if self.lateness.is_late(late_ns // SECOND_NS):
                counts.late += 1
                self.lists.late.add(Listed(record.event_ns, record.id, (self._key(first),), (), late_ns // SECOND_NS))

    def _compare_copies(self, record: _Committed, copies: Sequence[_Archived]) -> None:
        counts, keys = self.counts[record.window], tuple(sorted(map(self._key, copies)))
        if len(copies) > 1:
            counts.double += len(copies) - 1
            self.lists.double.add(Listed(record.event_ns, record.id, keys))
        names = sorted({name for row in copies for name in self._differing(record, row)})
        if names:
            counts.differing += 1
            self.lists.differing.add(Listed(record.event_ns, record.id, keys, tuple(names)))

    def _differing(self, record: _Committed, row: _Archived) -> Iterator[str]:
        yield from differing_columns(self.version, record.hashes, row.hashes)
        if record.is_dated and _has_other_time(row, record.event_ns):
            yield DATASETS[self.version].time_field

    def _add_unknown(self, rows: Sequence[_Archived]) -> None:
        """Counts rows of one id that the dataset does not have."""
        times = [row.event_ns for row in rows if row.event_ns is not None]
        if not times:
            self.undated_count += 1
            return
        event_ns = min(times)
        if not self.time_range.contains(event_ns):
            return
        window = self._window_at(event_ns)
        if window is None:
            self.uncommitted_count += 1
            return
        self.counts[window].missing_here += 1
        self.lists.missing_here.add(Listed(event_ns, rows[0].id, tuple(sorted(map(self._key, rows)))))

    def _window_at(self, event_ns: int) -> int | None:
        """Returns the number of a committed window that contains an instant; some may overlap."""
        place = bisect_right(self._starts, event_ns) - 1
        while place >= 0 and self._latest_ends[place] > event_ns:
            if self.windows[place].contains(event_ns):
                return place
            place -= 1
        return None

    def _key(self, row: _Archived) -> str:
        return self._files[row.file].key


def _has_other_time(row: _Archived, event_ns: int) -> bool:
    """Returns whether a row states another time; one that lacks the field states none.

    Logpush shows a time in nanoseconds or in whole seconds, and does not document how it rounds.
    """
    if row.event_ns is None:
        return row.unit_ns == UNREADABLE
    return abs(row.event_ns - event_ns) >= row.unit_ns


class Lateness:
    """How long after its event a record was delivered: counts by bound, and the maximum.

    A record is late if it was delivered more than ``late_after_seconds`` after its event.
    """

    BOUNDS = (300, 900, 3600, 6 * 3600, 24 * 3600)

    def __init__(self, late_after_seconds: int = 3600) -> None:
        self.late_after_seconds = late_after_seconds
        self.maximum_seconds = 0
        self.counts: Counter[int | None] = Counter()

    def add(self, seconds: int) -> None:
        """Adds the delay of a record; a negative one, by clocks that differ, counts as none."""
        self.maximum_seconds = max(self.maximum_seconds, seconds)
        self.counts[next((bound for bound in self.BOUNDS if seconds <= bound), None)] += 1

    def is_late(self, seconds: int) -> bool:
        """Returns whether a delay is longer than the bound."""
        return seconds > self.late_after_seconds


class SilentSpan(NamedTuple):
    """A span of whole minutes with records of which the archive has none; both bounds in nanoseconds."""

    start_ns: int
    end_ns: int
    record_count: int


class Minutes:
    """How many records each minute of a range has, and how many of them Logpush delivered: eight bytes a minute."""

    def __init__(self, time_range: TimeWindow) -> None:
        self._first = time_range.start_ns // _MINUTE_NS
        length = -(-time_range.end_ns // _MINUTE_NS) - self._first
        self._records = array("L", bytes(length * array("L").itemsize))
        self._delivered = array("L", bytes(length * array("L").itemsize))

    def add(self, event_ns: int, *, is_delivered: bool) -> None:
        """Adds a record."""
        place = event_ns // _MINUTE_NS - self._first
        self._records[place] += 1
        self._delivered[place] += is_delivered

    def silent_spans(self) -> Iterator[SilentSpan]:
        """Yields the spans without a delivery, each from its first to its last minute with a record.

        Minutes without records say nothing, so they neither end a span nor begin one.
        """
        first = last = count = 0
        for place, (record_count, delivered_count) in enumerate(zip(self._records, self._delivered, strict=True)):
            if record_count and not delivered_count:
                first = first if count else place
                last, count = place, count + record_count
            elif delivered_count and count:
                yield self._span(first, last, count)
                count = 0
        if count:
            yield self._span(first, last, count)

    def _span(self, first: int, last: int, count: int) -> SilentSpan:
        return SilentSpan((self._first + first) * _MINUTE_NS, (self._first + last + 1) * _MINUTE_NS, count)
