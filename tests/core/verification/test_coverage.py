"""Coverage: each instant of the half-open range is in exactly one span."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_audit_provider.core.verification.coverage import (
    Coverage,
    SpanState,
    WindowFacts,
    coverage_of,
    coverage_table,
    due_until,
    facts_of,
)
from airflow_audit_provider.core.windows.window import TimeWindow
from tests.core.verification.manifests import manifest

DAY_AT = datetime(2026, 11, 1, tzinfo=UTC)


def at(hours: float) -> datetime:
    """Returns the time so many hours into the day."""
    return DAY_AT + timedelta(hours=hours)


def covered(requested: tuple[float, float], *windows: tuple[float, float, int, bool]) -> Coverage:
    """Returns the coverage of hours by windows, each given as start, end, record count and whether it is recounted."""
    known = {
        TimeWindow(at(start), at(end)): WindowFacts(count, is_recounted) for start, end, count, is_recounted in windows
    }
    return coverage_of(TimeWindow(at(requested[0]), at(requested[1])), known)


def spans(found: Coverage) -> list[tuple[float, float, str, int]]:
    """Returns each span as start and end in hours, state and record count."""
    hours = timedelta(hours=1)
    return [((s.start - DAY_AT) / hours, (s.end - DAY_AT) / hours, s.state.value, s.record_count) for s in found.spans]


@pytest.mark.parametrize(
    ("requested", "windows", "expected", "complete_until_at"),
    [
        ((0, 24), [], [(0, 24, "missing", 0)], None),
        ((0, 24), [(0, 24, 5, True)], [(0, 24, "committed", 5)], 24),
        ((0, 24), [(0, 24, 0, True)], [(0, 24, "empty", 0)], 24),
        ((0, 24), [(0, 12, 1, True), (12, 24, 2, True)], [(0, 24, "committed", 3)], 24),
        ((0, 24), [(0, 12, 1, True), (12, 24, 2, False)], [(0, 12, "committed", 1), (12, 24, "committed", 2)], 24),
        ((0, 24), [(0, 12, 1, True), (12, 24, 0, True)], [(0, 12, "committed", 1), (12, 24, "empty", 0)], 24),
        ((0, 24), [(6, 12, 1, True)], [(0, 6, "missing", 0), (6, 12, "committed", 1), (12, 24, "missing", 0)], 12),
        ((0, 24), [(0, 6, 1, True), (18, 24, 1, True)],
         [(0, 6, "committed", 1), (6, 18, "missing", 0), (18, 24, "committed", 1)], 6),
        ((6, 18), [(0, 12, 4, True), (12, 24, 5, True)], [(6, 18, "committed", 9)], 24),
        ((6, 18), [(0, 6, 4, True), (18, 24, 5, True)], [(6, 18, "missing", 0)], None),
        ((6, 18), [(0, 24, 7, True)], [(6, 18, "committed", 7)], 24),
        ((0, 24), [(-6, 6, 1, True)], [(0, 6, "committed", 1), (6, 24, "missing", 0)], 6),
        ((0, 24), [(18, 30, 1, True)], [(0, 18, "missing", 0), (18, 24, "committed", 1)], 30),
        ((0, 24), [(0, 12, 1, True), (6, 24, 2, True)], [(0, 24, "committed", 3)], 24),
        ((0, 24), [(0, 24, 1, True), (6, 12, 2, False)], [(0, 24, "committed", 3)], 24),
        ((0, 1), [(0, 0.5, 1, True), (0.5, 1, 1, True)], [(0, 1, "committed", 2)], 1),
    ],
)  # fmt: skip
def test_spans_are_half_open(
    requested: tuple[float, float],
    windows: list[tuple[float, float, int, bool]],
    expected: list[tuple[float, float, str, int]],
    complete_until_at: float | None,
) -> None:
    """Gaps, adjacent windows, overlaps and windows beyond the range give these spans and this end without a gap."""
    found = covered(requested, *windows)
    assert spans(found) == expected
    assert found.complete_until_at == (None if complete_until_at is None else at(complete_until_at))


def test_gap_of_a_microsecond_is_a_span() -> None:
    """Windows that are a microsecond apart leave a missing span of a microsecond."""
    tick = timedelta(microseconds=1)
    known = {
        TimeWindow(at(0), at(1) - tick): WindowFacts(1, is_recounted=True),
        TimeWindow(at(1), at(2)): WindowFacts(1, is_recounted=True),
    }
    found = coverage_of(TimeWindow(at(0), at(2)), known)
    assert [(span.start, span.end) for span in found.missing] == [(at(1) - tick, at(1))]
    assert found.complete_until_at == at(1) - tick


def test_windows_without_a_recount_are_counted() -> None:
    """Windows without a recount, even empty ones, are counted, and their spans are not recounted."""
    found = covered((0, 24), (0, 6, 3, True), (6, 12, 4, False), (12, 18, 0, False))
    assert (found.window_count, found.empty_count, found.not_recounted_count, found.record_count) == (3, 1, 2, 7)
    assert [(span.start, span.state) for span in found.spans if span.window_count and not span.is_recounted] == [
        (at(6), SpanState.COMMITTED),
        (at(12), SpanState.EMPTY),
    ]
    assert [span.start for span in found.missing] == [at(18)]


def test_window_facts_come_from_the_manifest() -> None:
    """A window is recounted if its manifest names a recount."""
    assert facts_of(manifest()) == WindowFacts(2, is_recounted=False)
    assert facts_of(manifest(verified="recount")) == WindowFacts(2, is_recounted=True)
    assert facts_of(manifest(verified="edges")) == WindowFacts(2, is_recounted=False)


def test_table_has_a_line_for_each_span() -> None:
    """The table has a line for each span and a line of totals."""
    lines = coverage_table(covered((0, 24), (0, 6, 3, True), (6, 12, 4, False))).splitlines()
    assert [line.split()[2:4] for line in lines[:-2]] == [
        ["state", "recounted"],
        ["committed", "yes"],
        ["committed", "no"],
        ["missing", "0"],
    ]
    assert lines[-2:] == [
        "2 windows (0 empty, 1 not recounted), 7 records, 1 gap, 0 foreign windows",
        "first 2026-11-01T00:00:00Z, last 2026-11-01T12:00:00Z, complete without a gap up to 2026-11-01T12:00:00Z",
    ]
    assert coverage_table(covered((0, 1))).endswith("first none, last none, complete without a gap up to none\n")


def test_first_last_and_the_first_gap_are_apart() -> None:
    """One old window before a gap does not hide how far the dataset reaches."""
    found = covered((0, 48), (0, 1, 1, True), (24, 36, 1, True), (36, 48, 1, True))
    assert (found.first_at, found.last_at, found.complete_until_at) == (at(0), at(48), at(1))


def test_foreign_window_covers_nothing() -> None:
    """A window of another dataset has a span of its own, no total counts it, and completeness ends before it."""
    day = timedelta(days=1)
    windows = {TimeWindow(at(0) + n * day, at(0) + (n + 1) * day): WindowFacts(5, True, n == 1) for n in range(3)}
    found = coverage_of(TimeWindow(at(0), at(72)), windows)
    assert [span.state for span in found.spans] == ["committed", "foreign", "committed"]
    assert (found.window_count, found.foreign_count, found.record_count) == (2, 1, 10)
    assert (found.complete_until_at, found.missing, found.is_complete) == (at(24), (), False)
    assert facts_of(manifest(), is_foreign=True).state is SpanState.FOREIGN


@pytest.mark.parametrize(
    ("now", "windows", "due"),
    [
        (30, [], 29.75),
        (30, [(0, 24)], 24),
        (48.2, [(0, 24)], 24),
        (48.25, [(0, 24)], 48),
        (100, [(0, 24)], 96),
        (30, [(22, 23), (23, 24)], 29),
        (10, [(0, 24)], 9.75),
        (50, [(-24, 0), (0, 24), (24, 47)], 47),
        (71.3, [(-24, 0), (0, 24), (24, 47)], 71),
        (120, [(-72, 0), (0, 24), (24, 48)], 120 - 72),
    ],
)
def test_what_cannot_be_committed_yet_is_not_due(now: float, windows: list[tuple[float, float]], due: float) -> None:
    """Nothing is due after now less the settle delay, and after the last window only whole windows are."""
    known = [TimeWindow(at(start), at(end)) for start, end in windows]
    assert due_until(known, at(now), timedelta(minutes=15)) == at(due)


def test_gap_is_missing_up_to_what_is_due_and_then_pending() -> None:
    """A pending span is no gap, and a gap before it stays one."""
    day = {TimeWindow(at(0), at(24)): WindowFacts(1, is_recounted=True)}
    found = coverage_of(TimeWindow(at(0), at(96)), day, at(48))
    assert spans(found) == [(0, 24, "committed", 1), (24, 48, "missing", 0), (48, 96, "pending", 0)]
    assert not found.is_complete
    found = coverage_of(TimeWindow(at(0), at(96)), day, at(24))
    assert spans(found) == [(0, 24, "committed", 1), (24, 96, "pending", 0)]
    assert found.is_complete
    found = coverage_of(TimeWindow(at(-24), at(24)), day, at(-12))
    assert spans(found) == [(-24, -12, "missing", 0), (-12, 0, "pending", 0), (0, 24, "committed", 1)]


WINDOWS = st.tuples(st.integers(-5, 30), st.integers(1, 10), st.integers(0, 3), st.booleans())


@given(st.lists(WINDOWS, max_size=8), st.integers(0, 20), st.integers(1, 10))
def test_spans_cover_the_range_without_overlap(
    drawn: list[tuple[int, int, int, bool]], start: int, length: int
) -> None:
    """Each span begins where the previous one ends, and exactly the hours without a window are missing."""
    windows = {(begin, begin + hours): (count, is_recounted) for begin, hours, count, is_recounted in drawn}
    found = covered((start, start + length), *[(*edges, *facts) for edges, facts in windows.items()])
    edges = [(span.start, span.end) for span in found.spans]
    assert edges[0][0] == at(start)
    assert edges[-1][1] == at(start + length)
    assert all(one[1] == other[0] for one, other in pairwise(edges))
    assert all(begin < end for begin, end in edges)
    missing = {hour for hour in range(start, start + length) if any(s.start <= at(hour) < s.end for s in found.missing)}
    assert missing == {
        hour for hour in range(start, start + length) if not any(one <= hour < other for one, other in windows)
    }
    touching = [one for edges, one in windows.items() if edges[0] < start + length and start < edges[1]]
    assert sum(span.record_count for span in found.spans) == found.record_count == sum(count for count, _ in touching)
    assert sum(span.window_count for span in found.spans) == found.window_count == len(touching)
