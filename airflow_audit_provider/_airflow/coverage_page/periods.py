"""Divides the history of a dataset into days or hours and counts what each of them holds; pure.

Invariant: a period has the state of its worst part, and its figures are those of the windows that overlap it. Whether
a verification is missing is a fact beside the state, so that no state hides it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from airflow_audit_provider.core.limits import DEFAULT_SETTLE_DELAY
from airflow_audit_provider.core.verification.coverage import (
    Span,
    SpanState,
    WindowFacts,
    coverage_of,
    due_until,
)
from airflow_audit_provider.core.windows.readiness import whole_windows_start_at
from airflow_audit_provider.core.windows.window import EARLIEST_AT, TimeWindow
from airflow_audit_provider.pipelines.overview import SeenWindow

Bounds: TypeAlias = tuple[datetime | None, datetime | None]
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
LEVELS = 4
# Somebody can write thousands of windows of years that overlap; each of them is in its first periods alone once those
# before it were in so many times the number of periods.
_MOST_PARTS = 100


class State(StrEnum):
    """State of a period or window, the worst first: a period with two of them shows the first."""

    DAMAGED = "damaged"
    MISSING = "missing"
    LOST = "lost"
    FOREIGN = "foreign"
    UNREAD = "unread"
    LATE = "late"
    COMMITTED = "committed"
    EMPTY = "empty"
    PENDING = "pending"
    ELSEWHERE = "elsewhere"
    BEFORE = "before"


WORDS = {
    State.DAMAGED: "manifest damaged",
    State.MISSING: "missing",
    State.LOST: "missing, beyond retention",
    State.FOREIGN: "of another dataset",
    State.UNREAD: "not read yet",
    State.LATE: "extended by late records",
    State.COMMITTED: "committed",
    State.EMPTY: "committed, empty",
    State.PENDING: "not due yet",
    State.ELSEWHERE: "in the other version",
    State.BEFORE: "before the first window",
}
MEANINGS = {
    State.DAMAGED: "The manifest of a window cannot be read, or states another window.",
    State.MISSING: "No window was committed although it is due. Cloudflare still has the records.",
    State.LOST: "No window was committed, and Cloudflare no longer has all records of that time.",
    State.FOREIGN: "A window was committed for another dataset.",
    State.UNREAD: "A window is committed; its manifest is not in the index yet and was not read.",
    State.LATE: "A later generation added records to a window.",
    State.COMMITTED: "Committed. If there is no dot, its newest generation passed a verification.",
    State.EMPTY: "Read, committed, and without a record.",
    State.PENDING: "The window is not over, or its settle delay has not passed.",
    State.ELSEWHERE: "The stitched history has this time in its other version of the API.",
    State.BEFORE: "Earlier than the first window of the dataset.",
}
UNVERIFIED = "not verified"
UNVERIFIED_MEANING = "A window is committed, but no verification of its newest generation is recorded."
# States of which a manifest that can be used states the records, so that a verification says something about them.
_CHECKED = (State.COMMITTED, State.LATE, State.EMPTY)
_ORDER = {state: number for number, state in enumerate(State)}
_SPAN_STATES = {SpanState.MISSING: State.MISSING, SpanState.PENDING: State.PENDING}


@dataclass(slots=True)
class Period:
    """A day or an hour. ``records`` and ``size_bytes`` are shares of windows that are longer than it.

    ``is_unverified`` says that it has a window whose newest generation has no record of a verification.
    """

    start: datetime
    end: datetime
    state: State = State.BEFORE
    windows: list[SeenWindow] = field(default_factory=list)
    records: float = 0.0
    size_bytes: float = 0.0
    is_share: bool = False
    is_unverified: bool = False

    def mark(self, state: State) -> None:
        """Takes a state if it is worse than the present one."""
        if _ORDER[state] < _ORDER[self.state]:
            self.state = state

    def add(self, seen: SeenWindow) -> None:
        """Adds a window that overlaps the period."""
        self.windows.append(seen)
        self.mark(state_of(seen))
        self.is_unverified |= is_unverified(seen)
        start, end = seen.window.start, seen.window.end
        share = 1.0
        if start < self.start or end > self.end:
            share, self.is_share = (min(end, self.end) - max(start, self.start)) / (end - start), True
        self.records += share * seen.record_count
        self.size_bytes += share * seen.size_bytes


def state_of(seen: SeenWindow) -> State:
    """Returns the state of a window."""
    if seen.problem:
        return State.DAMAGED
    if seen.is_foreign:
        return State.FOREIGN
    if not seen.is_read:
        return State.UNREAD
    if not seen.record_count:
        return State.EMPTY
    return State.LATE if seen.late_count else State.COMMITTED


def is_unverified(seen: SeenWindow) -> bool:
    """Returns whether no verification of a window is recorded; false for one that no verification can pass."""
    return seen.verified_at is None and state_of(seen) in _CHECKED


def state_words(state: State, *, is_unverified: bool) -> str:
    """Returns a state in words, with whether it was verified where that can be said."""
    if is_unverified:
        return f"{WORDS[state]}, {UNVERIFIED}"
    return f"{WORDS[state]} and verified" if state in _CHECKED else WORDS[state]


class History(NamedTuple):
    """What the windows of a dataset cover from ``start`` to ``end``; ``absent`` is what is missing or pending.

    ``first_at``, ``last_at`` and ``complete_until_at`` are as in a coverage, but a damaged manifest ends what is
    complete: nothing states which records its window has.
    """

    start: datetime
    end: datetime
    first_at: datetime | None
    last_at: datetime | None
    complete_until_at: datetime | None
    absent: tuple[Span, ...]


def history(windows: Sequence[SeenWindow], now: datetime, bounds: Bounds = (None, None)) -> History | None:
    """Returns what is covered from the first window to now; None without a window.

    ``bounds`` are where a version of a stitched history has to start and end, None for the first window and now.
    """
    if not windows:
        return None
    known = {one.window: _facts(one) for one in windows}
    start, end = bounds
    first_at, last_at = windows[0].window.start, max(window.end for window in known)
    time_range = TimeWindow(min(start or first_at, first_at), max(min(end or now, now), last_at))
    found = coverage_of(time_range, known, due_until(known, now, DEFAULT_SETTLE_DELAY))
    ends = [one.window.start for one in windows if one.problem]
    complete_until_at = None if found.complete_until_at is None else min([found.complete_until_at, *ends[:1]])
    absent = tuple(span for span in found.spans if span.state in _SPAN_STATES)
    return History(found.start, found.end, found.first_at, found.last_at, complete_until_at, absent)


def _facts(seen: SeenWindow) -> WindowFacts:
    # A manifest that was not read, or cannot be, still shows that its window was committed.
    is_foreign = seen.is_foreign and not seen.problem
    return WindowFacts(seen.record_count, seen.is_recounted, is_foreign)


def gaps(found: History | None, now: datetime, bounds: Bounds = (None, None)) -> list[tuple[Span, State]]:
    """Returns what is missing or pending; a gap of which Cloudflare has only the end is divided there.

    Of a version in a stitched history, what the other version covers alone is in the result, too.
    """
    # The conversion to text and back turns a pendulum instant into a standard one.
    kept_at = datetime.fromisoformat(whole_windows_start_at(now.replace(microsecond=0)).isoformat())
    parts = list(_elsewhere(found, now, bounds)) if found else []
    for span in found.absent if found else ():
        state = _SPAN_STATES[span.state]
        if state is State.MISSING and span.start < kept_at:
            parts.append((_clipped(span, span.start, min(span.end, kept_at)), State.LOST))
            if span.end > kept_at:
                parts.append((_clipped(span, kept_at, span.end), State.MISSING))
        else:
            parts.append((span, state))
    return parts


def _elsewhere(found: History, now: datetime, bounds: Bounds) -> Iterator[tuple[Span, State]]:
    """Yields the times before and after those that a version covers."""
    start, end = bounds
    before = (EARLIEST_AT, min(start, found.start)) if start else (now, now)
    after = (max(end, found.end), now) if end else (now, now)
    for since, until in (before, after):
        if since < until:
            span = Span(since, until, SpanState.PENDING, is_recounted=False, window_count=0, record_count=0)
            yield span, State.ELSEWHERE


def _clipped(span: Span, start: datetime, end: datetime) -> Span:
    return Span(start, end, span.state, is_recounted=False, window_count=0, record_count=0)


class StateSpan(NamedTuple):
    """Adjacent windows of one state, all verified or none, or a gap. ``is_recounted`` as in a coverage's span."""

    start: datetime
    end: datetime
    state: State
    is_recounted: bool = False
    window_count: int = 0
    record_count: int = 0
    is_unverified: bool = False

    @property
    def words(self) -> str:
        """The state in words."""
        return state_words(self.state, is_unverified=self.is_unverified)

    def joined(self, other: StateSpan) -> StateSpan | None:
        """Returns both as one if the other one continues this one in the same state, None if not."""
        kinds = [(one.state, one.is_recounted, one.is_unverified) for one in (self, other)]
        is_alike = kinds[0] == kinds[1]
        if not is_alike or other.start > self.end:
            return None
        return self._replace(
            end=max(self.end, other.end),
            window_count=self.window_count + other.window_count,
            record_count=self.record_count + other.record_count,
        )


def state_spans(windows: Iterable[SeenWindow], absent: Iterable[tuple[Span, State]]) -> list[StateSpan]:
    """Returns windows and gaps in the order of time, joined where one continues the other."""
    parts = [
        StateSpan(
            one.window.start, one.window.end, state_of(one), one.is_recounted, 1, one.record_count, is_unverified(one)
        )
        for one in windows
    ]
    parts += [StateSpan(span.start, span.end, state) for span, state in absent]
    found: list[StateSpan] = []
    for part in sorted(parts, key=lambda one: one.start):
        joined = found[-1].joined(part) if found else None
        if joined is None:
            found.append(part)
        else:
            found[-1] = joined
    return found


def periods(
    start: datetime, count: int, length: timedelta, windows: Iterable[SeenWindow], absent: Iterable[tuple[Span, State]]
) -> list[Period]:
    """Returns so many periods from an instant on, filled with the windows and gaps that overlap them.

    Windows that overlap each other a hundred times over are not in all their periods.
    """
    found = [Period(start + number * length, start + (number + 1) * length) for number in range(count)]
    starts = [one.start for one in found]
    end = start + count * length

    def overlapped(first_at: datetime, last_at: datetime) -> Sequence[Period]:
        is_inside = first_at < end and last_at > start
        return found[max(0, bisect_right(starts, first_at) - 1) : bisect_left(starts, last_at)] if is_inside else ()

    left = _MOST_PARTS * count
    for seen in windows:
        # Each window has at least one part, and windows that do not overlap have fewer than periods beyond that.
        parts = overlapped(seen.window.start, seen.window.end)[: 1 + max(0, left)]
        left -= max(0, len(parts) - 1)
        for one in parts:
            one.add(seen)
    for span, state in absent:
        for one in overlapped(span.start, span.end):
            one.mark(state)
    return found


def midnight(instant: datetime) -> datetime:
    """Returns the start of an instant's UTC day."""
    return datetime.combine(instant.astimezone(UTC).date(), time(), UTC)


def levels(found: Sequence[Period]) -> list[int]:
    """Returns the intensity of each period, 0 to 4, by its rank among those with records.

    Ranks show a quiet week beside one busy day, which would make every other day pale on a linear scale.
    """
    volumes = sorted(one.records for one in found if one.records > 0)
    return [_level(one.records, volumes) for one in found]


def _level(records: float, volumes: Sequence[float]) -> int:
    if records <= 0:
        return 0
    return 1 + (LEVELS * bisect_left(volumes, records)) // len(volumes)
