"""Coverage of a range: which spans are committed, empty, foreign, missing or pending, computed from manifests alone.

Invariant: every instant of the half-open range is in exactly one span, whichever windows exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

import msgspec

from airflow_audit_provider.core.archive.manifest import Manifest
from airflow_audit_provider.core.verification.findings import as_table
from airflow_audit_provider.core.windows.window import LATEST_AT, TimeWindow, count_of, format_instant

# How many of the newest windows tell how long the next one may be: a week of days, which may have a weekend or a clock
# change among them.
RECENT_COUNT = 7


class SpanState(StrEnum):
    """State of a span.

    ``committed``: has records; ``empty``: was read and has none; ``foreign``: was committed for another dataset;
    ``missing``: was never committed; ``pending``: not due yet.
    """

    COMMITTED = "committed"
    EMPTY = "empty"
    FOREIGN = "foreign"
    MISSING = "missing"
    PENDING = "pending"


class Span(msgspec.Struct, frozen=True):
    """Adjacent windows of one state, clipped to the range: half-open ``[start, end)``.

    ``is_recounted`` is true if a second reading agreed before every commit in it (``verify="recount"``). A window that
    crosses the range's bound counts with all its records, because a manifest does not locate them within the window.
    """

    start: datetime
    end: datetime
    state: SpanState
    is_recounted: bool
    window_count: int
    record_count: int


class Coverage(msgspec.Struct, frozen=True):
    """Spans of a half-open range, and their totals; foreign windows are in no total except ``foreign_count``.

    ``first_at`` is the start of the first window of the dataset in the range, ``last_at`` the end of the last one;
    from ``first_at`` to ``complete_until_at`` there is no gap. These three times are None without a window, and can be
    outside of the range.
    """

    start: datetime
    end: datetime
    spans: tuple[Span, ...]
    window_count: int
    empty_count: int
    foreign_count: int
    not_recounted_count: int
    record_count: int
    first_at: datetime | None
    last_at: datetime | None
    complete_until_at: datetime | None

    @property
    def missing(self) -> tuple[Span, ...]:
        """Spans that were never committed although they are due."""
        return self._in_state(SpanState.MISSING)

    @property
    def is_complete(self) -> bool:
        """Whether nothing that is due is missing, and no window belongs to another dataset."""
        return not self.missing and not self.foreign_count

    def _in_state(self, state: SpanState) -> tuple[Span, ...]:
        return tuple(span for span in self.spans if span.state is state)


class WindowFacts(NamedTuple):
    """Facts of a window's newest manifest that coverage needs."""

    record_count: int
    is_recounted: bool
    is_foreign: bool = False

    @property
    def state(self) -> SpanState:
        """State of the window's span."""
        if self.is_foreign:
            return SpanState.FOREIGN
        return SpanState.COMMITTED if self.record_count else SpanState.EMPTY


def facts_of(manifest: Manifest, *, is_foreign: bool = False) -> WindowFacts:
    """Returns the facts of a manifest that coverage needs."""
    return WindowFacts(manifest.record_count, manifest.is_recounted, is_foreign)


def due_until(windows: Iterable[TimeWindow], now: datetime, settle_delay: timedelta) -> datetime:
    """Returns the instant up to which everything should be committed by now; what follows it is pending.

    It is never later than ``now`` less the settle delay. After the last window, only whole windows are due: a day that
    is not over cannot be committed. The longest of the newest seven windows tells how long the next one may be.
    """
    settled_at = now - settle_delay
    recent = sorted(windows)[-RECENT_COUNT:]
    last_at = max((window.end for window in recent), default=settled_at)
    if settled_at <= last_at:
        return settled_at
    length = max(window.length for window in recent)
    return last_at + (settled_at - last_at) // length * length


def coverage_of(
    time_range: TimeWindow, windows: Mapping[TimeWindow, WindowFacts], due_at: datetime = LATEST_AT
) -> Coverage:
    """Returns the coverage of a range.

    ``windows`` maps each committed window to the facts of its newest generation; gaps from ``due_at`` on are pending.
    """
    inside = {window: windows[window] for window in sorted(windows) if window.overlaps(time_range)}
    own = {window: facts for window, facts in inside.items() if not facts.is_foreign}
    return Coverage(
        start=time_range.start,
        end=time_range.end,
        spans=tuple(_merged(_spans(time_range, inside, due_at))),
        window_count=len(own),
        empty_count=sum(not facts.record_count for facts in own.values()),
        foreign_count=len(inside) - len(own),
        not_recounted_count=sum(not facts.is_recounted for facts in own.values()),
        record_count=sum(facts.record_count for facts in own.values()),
        first_at=min((window.start for window in own), default=None),
        last_at=max((window.end for window in own), default=None),
        complete_until_at=_complete_until(own),
    )


def _spans(time_range: TimeWindow, windows: Mapping[TimeWindow, WindowFacts], due_at: datetime) -> Iterator[Span]:
    """Yields adjacent spans from the start of the range to its end."""
    reached = time_range.start
    for window, facts in windows.items():
        start, end = max(window.start, reached), max(min(window.end, time_range.end), reached)
        yield from _gap(reached, start, due_at)
        # A window inside earlier ones has no span of its own, but its counts remain.
        yield Span(start, end, facts.state, facts.is_recounted, 1, facts.record_count)
        reached = end
    yield from _gap(reached, time_range.end, due_at)


def _gap(start: datetime, end: datetime, due_at: datetime) -> Iterator[Span]:
    """Yields what is missing of a gap, then what is pending."""
    pending_at = min(max(start, due_at), end)
    for state, since, until in ((SpanState.MISSING, start, pending_at), (SpanState.PENDING, pending_at, end)):
        if since < until:
            yield Span(since, until, state, is_recounted=False, window_count=0, record_count=0)


def _merged(spans: Iterable[Span]) -> Iterator[Span]:
    """Joins adjacent spans of the same state and drops those without length; ``spans`` is not empty."""
    merged, *others = spans
    for span in others:
        if span.start == span.end or (merged.state, merged.is_recounted) == (span.state, span.is_recounted):
            merged = msgspec.structs.replace(
                merged,
                end=span.end,
                window_count=merged.window_count + span.window_count,
                record_count=merged.record_count + span.record_count,
            )
        else:
            yield merged
            merged = span
    yield merged


def _complete_until(windows: Iterable[TimeWindow]) -> datetime | None:
    """Returns the end of the first run of windows without a gap; ``windows`` are sorted."""
    reached_at: datetime | None = None
    for window in windows:
        if reached_at is not None and reached_at < window.start:
            break
        reached_at = window.end if reached_at is None else max(reached_at, window.end)
    return reached_at


def coverage_table(found: Coverage) -> str:
    """Returns the coverage as a text table with the totals below it."""
    rows = [("start", "end", "state", "recounted", "windows", "records")]
    rows += [
        (
            format_instant(span.start),
            format_instant(span.end),
            span.state,
            "" if not span.window_count else "yes" if span.is_recounted else "no",
            str(span.window_count),
            str(span.record_count),
        )
        for span in found.spans
    ]
    return as_table(rows) + (
        f"{count_of(found.window_count, 'window')} ({found.empty_count} empty, {found.not_recounted_count} not "
        f"recounted), {count_of(found.record_count, 'record')}, {count_of(len(found.missing), 'gap')}, "
        f"{count_of(found.foreign_count, 'foreign window')}\n"
        f"first {_instant(found.first_at)}, last {_instant(found.last_at)}, "
        f"complete without a gap up to {_instant(found.complete_until_at)}\n"
    )


def _instant(instant: datetime | None) -> str:
    return "none" if instant is None else format_instant(instant)
