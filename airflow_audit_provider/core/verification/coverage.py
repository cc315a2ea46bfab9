"""Coverage of a range: which spans are committed, empty or missing, computed from manifests alone.

Invariant: every instant of the half-open range is in exactly one span, whichever windows exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

import msgspec

from airflow_audit_provider.core.archive.manifest import Manifest
from airflow_audit_provider.core.verification.findings import as_table
from airflow_audit_provider.core.windows.window import TimeWindow, format_instant


class SpanState(StrEnum):
    """``committed``: has records; ``empty``: was read and has none; ``missing``: was never committed."""

    COMMITTED = "committed"
    EMPTY = "empty"
    MISSING = "missing"


class Span(msgspec.Struct, frozen=True):
    """Adjacent windows of one state, clipped to the range: half-open ``[start, end)``.

    ``is_verified`` is true if a second reading agreed before every commit in it (``verify="recount"``). A window that
    crosses the range's bound counts with all its records, because a manifest does not locate them within the window.
    """

    start: datetime
    end: datetime
    state: SpanState
    is_verified: bool
    window_count: int
    record_count: int


class Coverage(msgspec.Struct, frozen=True):
    """Spans of a half-open range, and their totals.

    ``high_water_at`` is the end of the first contiguous run of committed windows in the range, None if there is none;
    it can be later than the end of the range.
    """

    start: datetime
    end: datetime
    spans: tuple[Span, ...]
    window_count: int
    empty_count: int
    unverified_count: int
    record_count: int
    high_water_at: datetime | None

    @property
    def missing(self) -> tuple[Span, ...]:
        """Spans that were never committed."""
        return tuple(span for span in self.spans if span.state is SpanState.MISSING)


class WindowFacts(NamedTuple):
    """Facts of a window's newest manifest that coverage needs."""

    record_count: int
    is_verified: bool


def facts_of(manifest: Manifest) -> WindowFacts:
    """Returns the facts of a manifest that coverage needs."""
    return WindowFacts(manifest.record_count, manifest.verified is not None)


def coverage_of(time_range: TimeWindow, windows: Mapping[TimeWindow, WindowFacts]) -> Coverage:
    """Returns the coverage of a range; ``windows`` maps each committed window to the facts of its newest generation."""
    inside = {window: windows[window] for window in sorted(windows) if window.overlaps(time_range)}
    return Coverage(
        start=time_range.start,
        end=time_range.end,
        spans=tuple(_merged(_spans(time_range, inside))),
        window_count=len(inside),
        empty_count=sum(not facts.record_count for facts in inside.values()),
        unverified_count=sum(not facts.is_verified for facts in inside.values()),
        record_count=sum(facts.record_count for facts in inside.values()),
        high_water_at=_high_water_at(inside),
    )


def _spans(time_range: TimeWindow, windows: Mapping[TimeWindow, WindowFacts]) -> Iterator[Span]:
    """Yields adjacent spans from the start of the range to its end."""
    reached = time_range.start
    for window, (record_count, is_verified) in windows.items():
        start, end = max(window.start, reached), max(min(window.end, time_range.end), reached)
        if reached < start:
            yield Span(reached, start, SpanState.MISSING, is_verified=False, window_count=0, record_count=0)
        state = SpanState.COMMITTED if record_count else SpanState.EMPTY
        # A window inside earlier ones has no span of its own, but its counts remain.
        yield Span(start, end, state, is_verified, 1, record_count)
        reached = end
    if reached < time_range.end:
        yield Span(reached, time_range.end, SpanState.MISSING, is_verified=False, window_count=0, record_count=0)


def _merged(spans: Iterable[Span]) -> Iterator[Span]:
    """Joins adjacent spans of the same state and drops those without length; ``spans`` is not empty."""
    merged, *others = spans
    for span in others:
        if span.start == span.end or (merged.state, merged.is_verified) == (span.state, span.is_verified):
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


def _high_water_at(windows: Iterable[TimeWindow]) -> datetime | None:
    reached_at: datetime | None = None
    for window in windows:
        if reached_at is not None and reached_at < window.start:
            break
        reached_at = window.end if reached_at is None else max(reached_at, window.end)
    return reached_at


def coverage_table(found: Coverage) -> str:
    """Returns the coverage as a text table with the totals below it."""
    rows = [("start", "end", "state", "verified", "windows", "records")]
    rows += [
        (
            format_instant(span.start),
            format_instant(span.end),
            span.state,
            "" if span.state is SpanState.MISSING else "yes" if span.is_verified else "no",
            str(span.window_count),
            str(span.record_count),
        )
        for span in found.spans
    ]
    high_water = format_instant(found.high_water_at) if found.high_water_at else "none"
    return as_table(rows) + (
        f"{found.window_count} windows ({found.empty_count} empty, {found.unverified_count} without a second reading), "
        f"{found.record_count} records, {len(found.missing)} gaps; high-water mark {high_water}\n"
    )
