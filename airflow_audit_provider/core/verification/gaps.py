"""Gaps of a dataset: what has to be read from the API (again), why, and until when that is possible.

A gap is a span of windows with one reason. Only spans that a pull may commit are due; the others are reported.

Invariant: the gaps of one report do not overlap, and a due gap consists of whole windows: those of the division, or one
that is committed as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

import msgspec

from airflow_audit_provider.core.archive.object_keys import LogEntry, read_manifest_key
from airflow_audit_provider.core.verification.findings import as_table
from airflow_audit_provider.core.windows.division import windows_over
from airflow_audit_provider.core.windows.readiness import expires_at, whole_windows_start_at
from airflow_audit_provider.core.windows.window import TimeWindow, format_instant

# A gap is one task, which stops at the first window that fails: a longer gap is divided.
LONGEST_GAP = timedelta(days=31)
# How many gaps a table for people has.
SHOWN_COUNT = 50


class GapReason(StrEnum):
    """Why a span is a gap.

    Due: ``missing`` was never committed; ``late`` was committed so soon that records may have appeared since;
    ``unverified`` has no record of a passed verification. Not due: ``lost`` is missing, and starts before what the API
    surely still has; ``no_history`` is missing, and starts before version 2's own history; ``partial`` is missing, and
    no whole window of the division.
    """

    MISSING = "missing"
    LATE = "late"
    UNVERIFIED = "unverified"
    LOST = "lost"
    NO_HISTORY = "no_history"
    PARTIAL = "partial"


DUE_REASONS = (GapReason.MISSING, GapReason.LATE, GapReason.UNVERIFIED)


class Gap(msgspec.Struct, frozen=True, order=True):
    """A span of adjacent windows, half-open; ``expires_at`` is when the first of them can no longer be read.

    ``is_divided`` is True if its windows are windows of the division. A gap for which it is False is a single window.
    """

    start: datetime
    end: datetime
    reason: GapReason
    window_count: int
    expires_at: datetime
    is_divided: bool

    @property
    def is_due(self) -> bool:
        """Whether a pull can fill the gap."""
        return self.reason in DUE_REASONS

    def days_left(self, now: datetime) -> int:
        """Returns for how many whole days all of the gap can still be read."""
        return max(timedelta(0), self.expires_at - now).days

    def facts(self, now: datetime) -> dict[str, str | int]:
        """Returns the gap for an asset event: why, what, and how many days are left."""
        return {
            "reason": str(self.reason),
            "window_start": self.start.isoformat(),
            "window_end": self.end.isoformat(),
            "window_count": self.window_count,
            "days_left": self.days_left(now),
            "readable_until": self.expires_at.isoformat(),
        }


class Division(NamedTuple):
    """How a range is divided into windows, and the instants that decide what can be read."""

    name: str
    timezone: str
    now: datetime
    history_starts_at: datetime | None = None

    def windows(self, span: TimeWindow) -> list[TimeWindow]:
        """Returns the windows over a span; the first and the last may reach beyond it."""
        return windows_over(span, self.name, self.timezone)

    def has(self, window: TimeWindow) -> bool:
        """Returns whether a window is one of the division."""
        return self.windows(window) == [window]

    def reason_of(self, window: TimeWindow) -> GapReason:
        """Returns whether a missing window can still be read."""
        if window.start < whole_windows_start_at(self.now):
            return GapReason.LOST
        if self.history_starts_at is not None and window.start < self.history_starts_at:
            return GapReason.NO_HISTORY
        return GapReason.MISSING


class _Piece(NamedTuple):
    window: TimeWindow
    reason: GapReason
    is_divided: bool


def missing_gaps(spans: Iterable[TimeWindow], division: Division) -> list[Gap]:
    """Returns the gaps of spans that were never committed, in order."""
    return [gap for span in spans for gap in _gaps(list(_pieces_of(span, division)))]


def committed_gaps(late: Iterable[TimeWindow], unverified: Iterable[TimeWindow], division: Division) -> list[Gap]:
    """Returns the gaps of committed windows that are to be read again and that the API still has, in order.

    A window that is late and not verified is late.
    """
    reasons = dict.fromkeys(unverified, GapReason.UNVERIFIED) | dict.fromkeys(late, GapReason.LATE)
    pieces = [
        _Piece(window, reasons[window], division.has(window))
        for window in sorted(reasons)
        if division.reason_of(window) is GapReason.MISSING
    ]
    return list(_gaps(pieces))


def _pieces_of(span: TimeWindow, division: Division) -> Iterator[_Piece]:
    """Yields the windows of a missing span; a part of a window is lost or partial."""
    for window in division.windows(span):
        inside = TimeWindow(max(window.start, span.start), min(window.end, span.end))
        reason = division.reason_of(inside)
        if inside != window and reason is GapReason.MISSING:
            yield _Piece(inside, GapReason.PARTIAL, is_divided=False)
        else:
            yield _Piece(inside, reason, is_divided=inside == window)


def _gaps(pieces: Sequence[_Piece]) -> Iterator[Gap]:
    """Yields the gaps that sorted windows make up: adjacent ones with one reason, up to the longest gap."""
    group: list[_Piece] = []
    for piece in pieces:
        if group and not _continues(group, piece):
            yield _gap(group)
            group = []
        group.append(piece)
    if group:
        yield _gap(group)


def _continues(group: Sequence[_Piece], piece: _Piece) -> bool:
    last = group[-1]
    is_alike = (last.reason, last.is_divided) == (piece.reason, True) and last.window.end == piece.window.start
    return is_alike and (piece.reason not in DUE_REASONS or piece.window.end - group[0].window.start <= LONGEST_GAP)


def _gap(group: Sequence[_Piece]) -> Gap:
    first = group[0]
    end, expiry = group[-1].window.end, expires_at(first.window)
    return Gap(first.window.start, end, first.reason, len(group), expiry, first.is_divided)


def late_windows(
    newest: Mapping[TimeWindow, str], entries: Iterable[LogEntry], is_suspect: Callable[[TimeWindow, datetime], bool]
) -> list[TimeWindow]:
    """Returns the committed windows whose last commit is suspect, sorted.

    ``newest`` are the keys of the newest manifests. The commit log has the time of each commit of the last 30 days; a
    window without an entry is not suspect. ``is_suspect`` decides by the window and the time of its last commit.
    """
    committed_at: dict[TimeWindow, datetime] = {}
    for entry in entries:
        named = read_manifest_key(newest.get(entry.window, ""))
        # An attempt whose generation does not exist has committed nothing.
        if named is not None and entry.generation <= named.generation:
            committed_at[entry.window] = max(entry.at, committed_at.get(entry.window, entry.at))
    return [window for window in sorted(committed_at) if is_suspect(window, committed_at[window])]


class GapReport(msgspec.Struct, frozen=True):
    """Gaps of a range: ``due`` to be filled, in the order in which they expire, and ``other`` that no pull can fill.

    ``remaining_count`` is how many due gaps there are beside these. ``start`` and ``end`` are the range, None if
    nothing is committed and no start is given.
    """

    now: datetime
    start: datetime | None
    end: datetime | None
    due: tuple[Gap, ...] = ()
    other: tuple[Gap, ...] = ()
    remaining_count: int = 0

    @property
    def lost(self) -> tuple[Gap, ...]:
        """Gaps that can never be filled."""
        return tuple(gap for gap in self.other if gap.reason is GapReason.LOST)

    def window_counts(self) -> dict[str, int]:
        """Returns the number of windows by reason, of the gaps in this report."""
        counts = dict.fromkeys(map(str, GapReason), 0)
        for gap in (*self.due, *self.other):
            counts[gap.reason] += gap.window_count
        return counts

    def summary(self) -> dict[str, object]:
        """Returns the report for an XCom: counts, and the gap that expires first."""
        first = min(self.due, key=_expiry, default=None)
        return {
            "start": self.start and self.start.isoformat(),
            "end": self.end and self.end.isoformat(),
            "gap_count": len(self.due),
            "remaining_count": self.remaining_count,
            "windows": self.window_counts(),
            "days_left": None if first is None else first.days_left(self.now),
            "first_expires_at": None if first is None else first.expires_at.isoformat(),
        }

    def text(self) -> str:
        """Returns the gaps as a table for people, those that expire first at the top."""
        rows = [("start", "end", "reason", "windows", "days left", "readable until")]
        gaps = sorted((*self.other, *self.due))
        rows += [
            (
                format_instant(gap.start),
                format_instant(gap.end),
                str(gap.reason),
                str(gap.window_count),
                str(gap.days_left(self.now)) if gap.is_due else "",
                format_instant(gap.expires_at) if gap.is_due else "",
            )
            for gap in gaps[:SHOWN_COUNT]
        ]
        more = len(gaps) - SHOWN_COUNT
        return as_table(rows) + (f"{more} more\n" if more > 0 else "")


def chosen(gaps: Iterable[Gap], reasons: Iterable[GapReason], max_count: int) -> tuple[list[Gap], int]:
    """Returns at most ``max_count`` gaps with these reasons, in the order in which they expire, and how many are left.

    All late ones are chosen, also more than ``max_count``, because a later run does not find them again. Other gaps
    that are left are found again.
    """
    wanted = sorted(gap for gap in gaps if gap.reason in set(reasons))
    by_urgency = sorted(wanted, key=_is_not_late)
    count = max(max_count, sum(gap.reason is GapReason.LATE for gap in wanted))
    return sorted(by_urgency[:count]), max(0, len(wanted) - count)


def _is_not_late(gap: Gap) -> bool:
    return gap.reason is not GapReason.LATE


def _expiry(gap: Gap) -> datetime:
    return gap.expires_at
