"""Sampled instants are spread over the week, and the density between pages is estimated without a bias."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from airflow_audit_provider.core.windows.density import DensityCurve, Sample
from airflow_audit_provider.core.windows.sampling import (
    MAX_SAMPLES,
    MIN_SAMPLES,
    WEEK_SECONDS,
    Interval,
    Stratum,
    check_sample_count,
    follow_up_seconds,
    strata_of,
)
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import ConfigurationError

START = datetime(2025, 6, 1, tzinfo=UTC)
DAY_SECONDS = 86_400


def days(first: int, last: int) -> TimeWindow:
    """Returns the days from one to another, counted from the start."""
    return TimeWindow(START + timedelta(days=first), START + timedelta(days=last))


@pytest.mark.parametrize("count", range(MIN_SAMPLES, 61))
def test_strata_divide_the_spans_into_equal_parts(count: int) -> None:
    """The strata are the spans, in equal parts, and each is sampled inside, whatever their number is."""
    spans = [days(0, 100), days(130, 131), days(200, 540)]
    strata = strata_of(spans, count)
    seconds = [sum(one.seconds for one in stratum.intervals) for stratum in strata]
    assert max(seconds) - min(seconds) <= 1
    assert sum(seconds) == 441 * DAY_SECONDS
    assert all(any(a <= one.sample_second < b for a, b in one.intervals) for one in strata)
    assert len(strata) <= count


@pytest.mark.parametrize("count", [12, 20, 30, 35, 60])
def test_samples_are_spread_over_the_hours_of_the_week(count: int) -> None:
    """Between two instants that follow each other in the week there is never more than twice the mean distance."""
    strata = strata_of([days(0, 540)], count)
    phases = sorted(stratum.sample_second % WEEK_SECONDS for stratum in strata)
    gaps = [later - earlier for earlier, later in zip(phases, [*phases[1:], phases[0] + WEEK_SECONDS], strict=True)]
    assert max(gaps) <= 2 * WEEK_SECONDS / len(strata)
    hours = {second % DAY_SECONDS // 14_400 for second in phases}
    assert len(hours) == 6


def test_short_span_has_a_stratum_for_each_hour_at_most() -> None:
    """Three hours are sampled at most three times, and one minute once."""
    hours = TimeWindow(START, START + timedelta(hours=3))
    assert len(strata_of([hours], 30)) == 3
    assert len(strata_of([TimeWindow(START, START + timedelta(minutes=1))], 30)) == 1


def test_follow_ups_stay_inside_the_strata() -> None:
    """The week before the first stratum is not asked for."""
    strata = strata_of([days(0, 540)], 30)
    assert follow_up_seconds(strata[0].intervals[0].start_second, strata) == [
        strata[0].intervals[0].start_second + WEEK_SECONDS
    ]


@pytest.mark.parametrize("count", [MIN_SAMPLES - 1, MAX_SAMPLES + 1])
def test_sample_count_out_of_range_is_refused(count: int) -> None:
    """Fewer than six samples and more than three hundred are refused."""
    with pytest.raises(ConfigurationError, match="6 to 300"):
        check_sample_count(count)


def page(seconds: Sequence[int], at: int, end: int, row_count: int = 1000) -> Sample:
    """Returns the page of a log that begins at a second."""
    first = bisect_left(seconds, at)
    rows = seconds[first : first + row_count]
    until = max(rows[-1], at + 1) if len(rows) == row_count else end
    return Sample(Interval(at, until), tuple(one for one in rows if one < until))


def sampled(seconds: Sequence[int], span: TimeWindow) -> tuple[DensityCurve, list[Stratum]]:
    """Returns the curve of a log that is sampled thirty times."""
    strata = strata_of([span], 30)
    end = span.whole_seconds()[1]
    return DensityCurve(strata, [[page(seconds, stratum.sample_second, end)] for stratum in strata]), strata


def test_what_a_page_covers_is_exact() -> None:
    """Inside of a page the records are counted, and not estimated."""
    span = days(0, 300)
    start, end = span.whole_seconds()
    seconds = list(range(start, end, 700))
    curve, strata = sampled(seconds, span)
    expected = curve.expected(Interval(strata[3].sample_second, strata[3].sample_second + DAY_SECONDS))
    assert (expected.is_seen, expected.estimated_count) == (True, 0.0)
    assert expected.seen_count in (123, 124)
    assert expected.empty_probability == expected.single_probability == 0.0


@pytest.mark.parametrize("step", [15, 40, 90])
def test_log_by_day_and_night_is_estimated_without_bias(step: int) -> None:
    """A log that sleeps for half of the day has the estimated number of records, though its pages end when it wakes."""
    span = days(0, 540)
    start, end = span.whole_seconds()
    seconds = [at for at in range(start, end, step) if at % DAY_SECONDS > DAY_SECONDS // 2]
    curve, _ = sampled(seconds, span)
    assert curve.expected(Interval(start, end)).record_count == pytest.approx(len(seconds), rel=0.1)


def test_outage_is_not_filled_up() -> None:
    """A hundred days without a record stay without, but for the ends that no page shows."""
    span = days(0, 540)
    start, end = span.whole_seconds()
    seconds = [at for at in range(start, end, 400) if not 200 <= (at - start) // DAY_SECONDS < 300]
    curve, _ = sampled(seconds, span)
    assert curve.expected(Interval(start + 230 * DAY_SECONDS, start + 290 * DAY_SECONDS)).record_count < 500
    assert curve.expected(Interval(start, end)).record_count == pytest.approx(len(seconds), rel=0.1)


def test_burst_stands_out() -> None:
    """A page in a burst of a day is named as an outlier, and an even log has none."""
    span = days(0, 540)
    start, end = span.whole_seconds()
    even = list(range(start, end, 300))
    curve, strata = sampled(even, span)
    assert curve.outliers() == []
    at = strata[10].sample_second
    burst, _ = sampled(sorted([*even, *range(at, at + DAY_SECONDS, 7)]), span)
    assert burst.outliers() == [10]


def test_pages_that_overlap_count_each_record_once() -> None:
    """A record that two pages show is one record."""
    strata = strata_of([days(0, 30)], 6)
    start = strata[0].sample_second
    first = Sample(Interval(start, start + 100), (start, start + 50, start + 99))
    second = Sample(Interval(start + 40, start + 200), (start + 50, start + 99, start + 150))
    curve = DensityCurve(strata[:2], [[first], [second]])
    assert curve.expected(Interval(start, start + 200)).seen_count == 4


def test_probabilities_of_a_quiet_range() -> None:
    """Where no page has a record, the probabilities of no record and of one follow from the density."""
    strata = strata_of([days(0, 30)], 6)
    empty = [[Sample(Interval(one.sample_second, one.sample_second + 10), ())] for one in strata]
    expected = DensityCurve(strata, empty).expected(Interval(0, DAY_SECONDS))
    assert (expected.record_count, expected.empty_probability, expected.single_probability) == (0, 1.0, 0.0)
