"""Chooses the instants at which a log's density is sampled.

The time to read is divided into strata of equal length, and one instant is chosen in each. Nights and weekends have
few records, so the instants are spread evenly over the hours of the week as well: the mean of their densities is then
the mean of the log, although each of them is far from it. An instant whose density stands out from those around it
gets two more, a week before and a week after.

Invariant: the choice depends only on the spans, so a plan that is made again asks for the same pages.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from math import gcd
from typing import NamedTuple

from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import ConfigurationError

MIN_SAMPLES, DEFAULT_SAMPLES, MAX_SAMPLES = 6, 30, 300
_HOUR_SECONDS, _DAY_SECONDS, WEEK_SECONDS = 3_600, 86_400, 604_800
# The share of requests that is left for the instants whose density stands out.
_FOLLOW_UP_SHARE = 0.2
_MAX_CANDIDATES = 1_000
# How often the share of the golden ratio steps around the period, so that neighbours in time are far apart in it.
_STEP_SHARE = 0.382
# Two phases that differ less are taken for equal, and the candidate in the middle of its stratum is chosen.
_PHASE_DIGITS = 3


class Interval(NamedTuple):
    """Whole seconds since the epoch, ``[start_second, end_second)``."""

    start_second: int
    end_second: int

    @property
    def seconds(self) -> int:
        """Length in seconds."""
        return self.end_second - self.start_second


class Stratum(NamedTuple):
    """A share of the time to read, as consecutive intervals, and the second at which it is sampled."""

    intervals: tuple[Interval, ...]
    sample_second: int


def check_sample_count(count: int) -> None:
    """Raises ``ConfigurationError`` for a number of samples outside 6 to 300."""
    if not MIN_SAMPLES <= count <= MAX_SAMPLES:
        raise ConfigurationError(f"{count} samples are impossible. Give {MIN_SAMPLES} to {MAX_SAMPLES}.")


def strata_of(spans: Sequence[TimeWindow], sample_count: int) -> list[Stratum]:
    """Returns the strata of the given spans; four of five samples are for them, the others for follow-ups."""
    intervals = [Interval(*span.whole_seconds()) for span in spans]
    total = sum(one.seconds for one in intervals)
    count = min(_coprime_with_week(round(sample_count * (1 - _FOLLOW_UP_SHARE))), max(1, total // _HOUR_SECONDS))
    borders = [total * number // count for number in range(count + 1)]
    targets = _phases(count)
    return [
        _stratum(_cut(intervals, borders[number], borders[number + 1]), targets[number])
        for number in range(count)
        if borders[number] < borders[number + 1]
    ]


def follow_up_seconds(second: int, strata: Sequence[Stratum]) -> list[int]:
    """Returns the same second of the week before and of the week after, where the time to read has them."""
    found = (second - WEEK_SECONDS, second + WEEK_SECONDS)
    intervals = [interval for stratum in strata for interval in stratum.intervals]
    return [one for one in found if any(start <= one < end for start, end in intervals)]


def _coprime_with_week(count: int) -> int:
    """Returns the count, or the one below if seven divides it: its instants would always fall on the same hours."""
    return count - 1 if count % 7 == 0 else count


def _phases(count: int) -> list[float]:
    """Returns positions in the period, 0.0 to 1.0, evenly spaced, in an order in which neighbours are far apart."""
    step = next((step for step in range(int(count * _STEP_SHARE) or 1, count) if gcd(step, count) == 1), 1)
    return [((number * step) % count + 0.5) / count for number in range(count)]


def _cut(intervals: Sequence[Interval], since: int, until: int) -> tuple[Interval, ...]:
    """Returns the part of consecutive intervals between two positions, counted in seconds of the intervals alone."""
    starts = [0, *accumulate(one.seconds for one in intervals)]
    return tuple(_parts(zip(intervals, starts, strict=False), since, until))


def _parts(placed: Iterator[tuple[Interval, int]], since: int, until: int) -> Iterator[Interval]:
    for interval, position in placed:
        offset = interval.start_second - position
        start, end = max(since, position), min(until, position + interval.seconds)
        if start < end:
            yield Interval(start + offset, end + offset)


def _stratum(intervals: tuple[Interval, ...], target: float) -> Stratum:
    """Returns a stratum with the second whose place in the week, or in the day, is nearest to a target."""
    total = sum(one.seconds for one in intervals)
    if total < _DAY_SECONDS:
        return Stratum(intervals, _second_at(intervals, int(total * target)))
    period = WEEK_SECONDS if total >= WEEK_SECONDS else _DAY_SECONDS
    count = min(_MAX_CANDIDATES, total // _HOUR_SECONDS)
    candidates = [_second_at(intervals, (2 * number + 1) * total // (2 * count)) for number in range(count)]
    middle = _second_at(intervals, total // 2)
    nearest = min(candidates, key=lambda second: (_distance(second / period % 1, target), abs(second - middle)))
    return Stratum(intervals, nearest)


def _second_at(intervals: Sequence[Interval], position: int) -> int:
    for interval in intervals:
        if position < interval.seconds:
            return interval.start_second + position
        position -= interval.seconds
    return intervals[-1].end_second - 1


def _distance(phase: float, target: float) -> float:
    """Returns the distance of two positions in a period, 0.0 to 0.5, rounded to a thousandth of it."""
    difference = abs(phase - target)
    return round(min(difference, 1 - difference), ndigits=_PHASE_DIGITS)
