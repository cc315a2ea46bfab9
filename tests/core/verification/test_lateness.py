"""Lateness and the proposed settings follow from the bounds of each late record, whatever the records are."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from math import ceil, comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_audit_provider.core.verification.lateness import (
    NEEDED_COUNT,
    Arrival,
    Lateness,
    WindowReadings,
    allowed_misses,
    lateness_of,
)
from airflow_audit_provider.core.windows.window import TimeWindow, to_ns

START = datetime(2026, 10, 1, tzinfo=UTC)
WINDOW = TimeWindow(START, START + timedelta(days=1))
WINDOW_SECONDS = 86400
SETTLE = timedelta(minutes=15)
FIRST_READ_AT = WINDOW.end + SETTLE
NOW = START + timedelta(days=60)


def arrival(needed_seconds: float, record_count: int) -> Arrival:
    """Returns late records at noon that were found so long after the end of their window."""
    seen_at = WINDOW.end + timedelta(seconds=needed_seconds)
    event_ns = to_ns(START + timedelta(hours=12))
    return Arrival(WINDOW, record_count, event_ns, event_ns, FIRST_READ_AT, seen_at)


def measured(
    arrivals: Sequence[Arrival], first_count: int = 0, lookback: timedelta | None = None, now: datetime = NOW
) -> Lateness:
    """Returns the lateness that one window shows."""
    return lateness_of([WindowReadings(WINDOW, FIRST_READ_AT, first_count, tuple(arrivals))], now, SETTLE, lookback)


def chance_of_no_more(misses: int, count: int) -> Fraction:
    """Returns the exact chance that no more of so many records exceed the 99.9 % quantile."""
    rare = Fraction(1, 1000)
    terms = (comb(count, number) * rare**number * (1 - rare) ** (count - number) for number in range(misses + 1))
    return sum(terms, Fraction(0))


@pytest.mark.parametrize("count", [2995, 4741, 4742, 4743, 7000])
def test_allowed_misses_are_the_most_with_the_confidence(count: int) -> None:
    """The exact binomial chance is at most 5 % for the returned number, and more for the next one."""
    misses = allowed_misses(count)
    assert misses is not None
    assert chance_of_no_more(misses, count) <= Fraction(5, 100) < chance_of_no_more(misses + 1, count)


def test_too_few_records_allow_no_statement() -> None:
    """With one record less than needed, even a value that none exceeds has less than the confidence."""
    assert (NEEDED_COUNT, allowed_misses(NEEDED_COUNT - 1)) == (2995, None)
    assert chance_of_no_more(0, NEEDED_COUNT - 1) > Fraction(5, 100)


def test_misses_of_millions_of_records_do_not_underflow() -> None:
    """Among ten million records some 10,000 exceed the quantile, so slightly fewer are allowed."""
    misses = allowed_misses(10_000_000)
    assert misses is not None
    assert 9_800 < misses < 10_000


GROUPS = st.lists(st.tuples(st.integers(900, 400_000), st.integers(1, 400)), max_size=30)


@given(GROUPS)
def test_quantiles_are_those_of_the_single_records(groups: list[tuple[int, int]]) -> None:
    """Counting each record by itself gives the same quantiles."""
    found = measured([arrival(*group) for group in groups])
    each = sorted(seconds + 43200 for seconds, count in groups for _ in range(count))
    assert (found.late_count, found.addition_count) == (len(each), len(groups))
    if not each:
        assert found.at_most is found.at_least is None
        return
    assert found.at_most is not None
    for share, value in ((0.5, found.at_most.p50), (0.99, found.at_most.p99), (0.999, found.at_most.p99_9)):
        assert value == each[max(1, ceil(round(share * len(each), 6))) - 1]
    assert found.at_most.longest == each[-1]


@given(GROUPS, st.integers(0, 400_000))
def test_proposed_lookback_is_the_shortest_that_misses_few_enough(groups: list[tuple[int, int]], more: int) -> None:
    """One hour less would miss more late records than the confidence allows."""
    groups = [*groups, (more + 900, 3000)]
    proposal = measured([arrival(*group) for group in groups]).lookback
    count = sum(records for _, records in groups)
    most = allowed_misses(count)
    assert most is not None

    def missed(hours: int) -> int:
        return sum(records for seconds, records in groups if seconds - WINDOW_SECONDS > hours * 3600)

    shortest = next(hours for hours in range(200) if missed(hours) <= most)
    assert proposal.proposed == shortest * 3600
    assert proposal.missed_proposed == missed(shortest)
    longest = max(seconds for seconds, _ in groups) - WINDOW_SECONDS
    assert proposal.none_missed == max(0, ceil(longest / 3600) * 3600)


@given(GROUPS, st.integers(3000, 200_000))
def test_proposed_settle_delay_is_the_shortest_that_commits_enough(
    groups: list[tuple[int, int]], first_count: int
) -> None:
    """The current delay stays if few enough records are late; else five minutes less would commit too few."""
    proposal = measured([arrival(*group) for group in groups], first_count).settle_delay
    late_count = sum(records for _, records in groups)
    most = allowed_misses(first_count + late_count)
    assert most is not None
    assert proposal.missed_now == late_count
    if late_count <= most:
        assert (proposal.proposed, proposal.missed_proposed) == (900, late_count)
        return

    def missed(steps: int) -> int:
        return sum(records for seconds, records in groups if seconds > steps * 300)

    shortest = next(steps for steps in range(3, 2000) if missed(steps) <= most)
    assert proposal.proposed == shortest * 300
    if shortest > 3:
        assert proposal.missed_proposed == missed(shortest)


def test_few_records_give_no_proposal_but_the_longest() -> None:
    """Ten late records bound 74 % of all, and the lookback that would have found them is stated."""
    found = measured([arrival(WINDOW_SECONDS + 90_000, 10)], first_count=500, lookback=timedelta(hours=20))
    assert (found.lookback.proposed, found.settle_delay.proposed) == (None, None)
    assert not found.lookback.is_enough
    assert not found.settle_delay.is_enough
    assert found.lookback.none_missed == 25 * 3600
    assert (found.lookback.missed_now, found.longest_surely_bounded) == (10, 0.7411)


def test_lateness_near_the_lookback_is_censored() -> None:
    """Records that came in the last tenth of the lookback show that later ones are likely."""
    day = timedelta(days=1)
    assert measured([arrival(0.95 * 86400, 1)], lookback=day).is_censored
    assert not measured([arrival(0.5 * 86400, 1)], lookback=day).is_censored
    assert not measured([arrival(0.95 * 86400, 1)]).is_censored


def test_window_that_was_landed_late_tells_nothing_about_the_settle_delay() -> None:
    """A backfilled window counts as delayed, and one that is still read again as open; neither is in the proposal."""
    delayed = WindowReadings(WINDOW, WINDOW.end + timedelta(days=30), 5000, ())
    found = lateness_of([delayed], NOW, SETTLE, None)
    assert (found.delayed_count, found.first_count, found.settle_delay.record_count) == (1, 0, 0)
    opened = measured([], 5000, timedelta(days=3), WINDOW.end + timedelta(days=2))
    assert (opened.open_count, opened.first_count, opened.settle_delay.record_count) == (1, 5000, 0)


def test_records_of_one_part_are_bounded_by_its_earliest_and_latest() -> None:
    """Of three records, one surely has the latest event time and one the earliest."""
    times = (to_ns(START), to_ns(START + timedelta(hours=10)))
    three = Arrival(WINDOW, 3, *times, FIRST_READ_AT, FIRST_READ_AT + timedelta(hours=1))
    hours = {name: [(seconds / 3600, count) for seconds, count in pairs] for name, pairs in _bounds(three).items()}
    assert hours == {"at_most": [(15.25, 1), (25.25, 2)], "at_least": [(24.25, 1), (14.25, 2)]}


def _bounds(one: Arrival) -> dict[str, list[tuple[float, int]]]:
    return {"at_most": one.at_most(), "at_least": one.at_least()}
