"""Coverage: which parts of a range are committed, empty or missing, from the manifests alone.

Knows: half-open arithmetic over windows. Must not know: stores, keys, parts' bytes.
Its one rule: every instant of the range is in exactly one span, whatever windows there are.
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
    """``committed`` holds records, ``empty`` was read and holds none, ``missing`` was never committed."""

    COMMITTED = "committed"
    EMPTY = "empty"
    MISSING = "missing"


class Span(msgspec.Struct, frozen=True):
    """Neighbouring windows of one state, cut at the range: half-open ``[start, end)``.

    ``is_verified`` says that a second reading agreed before every commit in it (``verify="recount"``). A window that
    reaches over the range's edge is counted with all its records, because a manifest does not say which lie where.
    """

    start: datetime
    end: datetime
    state: SpanState
    is_verified: bool
    window_count: int
    record_count: int


class Coverage(msgspec.Struct, frozen=True):
    """What is known of a half-open range, and the sums.

    ``high_water_at`` is the end of the unbroken run of committed windows from the first one in the range, None when
    there is none; that window may end after the range does.
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
        """The spans that were never committed."""
        return tuple(span for span in self.spans if span.state is SpanState.MISSING)


class WindowFacts(NamedTuple):
    """What coverage needs of a window's newest manifest."""

    record_count: int
    is_verified: bool


def facts_of(manifest: Manifest) -> WindowFacts:
    """Return what coverage needs of a manifest."""
    return WindowFacts(manifest.record_count, manifest.verified is not None)


def coverage_of(asked: TimeWindow, windows: Mapping[TimeWindow, WindowFacts]) -> Coverage:
    """Return the coverage of a range; ``windows`` has the newest generation's facts of each committed window."""
    inside = {window: windows[window] for window in sorted(windows) if window.overlaps(asked)}
    return Coverage(
        start=asked.start,
        end=asked.end,
        spans=tuple(_merged(_spans(asked, inside))),
        window_count=len(inside),
        empty_count=sum(not facts.record_count for facts in inside.values()),
        unverified_count=sum(not facts.is_verified for facts in inside.values()),
        record_count=sum(facts.record_count for facts in inside.values()),
        high_water_at=_high_water_at(inside),
    )


def _spans(asked: TimeWindow, windows: Mapping[TimeWindow, WindowFacts]) -> Iterator[Span]:
    """Yield spans from the range's start to its end, each beginning where the one before ends."""
    reached = asked.start
    for window, (record_count, is_verified) in windows.items():
        start, end = max(window.start, reached), max(min(window.end, asked.end), reached)
        if reached < start:
            yield Span(reached, start, SpanState.MISSING, is_verified=False, window_count=0, record_count=0)
        state = SpanState.COMMITTED if record_count else SpanState.EMPTY
        # A window that lies inside earlier ones has no span left, and still its counts.
        yield Span(start, end, state, is_verified, 1, record_count)
        reached = end
    if reached < asked.end:
        yield Span(reached, asked.end, SpanState.MISSING, is_verified=False, window_count=0, record_count=0)


def _merged(spans: Iterable[Span]) -> Iterator[Span]:
    """Join neighbours of the same state, at least one; drop what has no length."""
    held, *others = spans
    for span in others:
        if span.start == span.end or (held.state, held.is_verified) == (span.state, span.is_verified):
            held = msgspec.structs.replace(
                held,
                end=span.end,
                window_count=held.window_count + span.window_count,
                record_count=held.record_count + span.record_count,
            )
        else:
            yield held
            held = span
    yield held


def _high_water_at(windows: Iterable[TimeWindow]) -> datetime | None:
    reached_at: datetime | None = None
    for window in windows:
        if reached_at is not None and reached_at < window.start:
            break
        reached_at = window.end if reached_at is None else max(reached_at, window.end)
    return reached_at


def coverage_table(found: Coverage) -> str:
    """Return the coverage as a text table with the sums below it."""
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
    mark = format_instant(found.high_water_at) if found.high_water_at else "none"
    return as_table(rows) + (
        f"{found.window_count} windows ({found.empty_count} empty, {found.unverified_count} without a second reading), "
        f"{found.record_count} records, {len(found.missing)} gaps; high-water mark {mark}\n"
    )
