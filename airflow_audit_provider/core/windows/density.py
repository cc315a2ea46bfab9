"""Estimates how many records a window has, from pages that were requested at sampled instants.

A page shows exactly what a log holds from its instant to its last record. Where no page was read, the density of the
stratum's page counts. A page that starts in a busy hour is short, and one that starts at night is long, so the density
of a page as a whole would depend on where it ends. Therefore only its beginning counts, for as long as the shorter ones
of the pages around it are. A page that begins with days of nothing reaches over an outage, and its end counts for what
follows. A night or a weekend without records is none.

Invariant: a span that pages cover has exactly their records, whatever the density around it is.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from math import exp
from typing import NamedTuple, TypeVar

from airflow_audit_provider.core.windows.sampling import Interval, Stratum

_Value = TypeVar("_Value")
# How many strata on either side are around a stratum, and which of their pages is short.
_NEIGHBOURS, _SHORT_SHARE = 4, 0.25
# A density this many times higher than all of those around it stands out.
_OUTLIER_FACTOR, _OUTLIER_NEIGHBOURS = 2.0, 3
_DAY_SECONDS = 86_400
_OUTAGE_SECONDS = 4 * _DAY_SECONDS
# 1970-01-01, day 0, was a Thursday.
_FIRST_WEEKDAY = 3


class Sample(NamedTuple):
    """A page of the log: ``seconds`` are the event times, sorted, of all records in ``interval``."""

    interval: Interval
    seconds: tuple[int, ...]

    def density(self, start_second: int, end_second: int) -> float:
        """Returns the records per second of a part of the page."""
        count = bisect_left(self.seconds, end_second) - bisect_left(self.seconds, start_second)
        return count / max(1, end_second - start_second)


class Expected(NamedTuple):
    """Expected records of a range: those that were seen, and those estimated where no page was read."""

    seen_count: int
    estimated_count: float
    is_seen: bool

    @property
    def record_count(self) -> float:
        """Both together."""
        return self.seen_count + self.estimated_count

    @property
    def empty_probability(self) -> float:
        """The probability that the range has no record, if records come independently of each other."""
        return 0.0 if self.seen_count else exp(-self.estimated_count)

    @property
    def single_probability(self) -> float:
        """The probability that the range has exactly one record."""
        if self.seen_count > 1:
            return 0.0
        return (self.estimated_count if not self.seen_count else 1.0) * exp(-self.estimated_count)


class _Piece(NamedTuple):
    interval: Interval
    density: float


class DensityCurve:
    """Record density over the strata; ``samples`` has the pages of each stratum, at least one, its own first.

    The page of an earlier stratum stands for one that it covers.
    """

    def __init__(self, strata: Sequence[Stratum], samples: Sequence[Sequence[Sample]]) -> None:
        self._samples = samples
        self._lengths = [_short_length(near) for near in _around([group[0] for group in samples], _NEIGHBOURS)]
        self._densities = [self._of_stratum(number) for number in range(len(strata))]
        every = sorted({sample for group in samples for sample in group})
        self._covered = list(_merged(sample.interval for sample in every))
        self._seconds = sorted(_without_repeats(every))
        self._pieces = sorted(self._uncovered(strata))
        self._piece_ends = [piece.interval.end_second for piece in self._pieces]

    def outliers(self) -> list[int]:
        """Returns the strata whose density stands out from those around them, the furthest first."""
        starts = [before for before, _ in self._densities]
        ratios = []
        for number, near in enumerate(_around(starts, _OUTLIER_NEIGHBOURS)):
            others = sorted(near)[:-1] if starts[number] == max(near) else near
            ratios.append((starts[number] / (max(others, default=0.0) or 1e-9), number))
        return [number for ratio, number in sorted(ratios, reverse=True) if ratio >= _OUTLIER_FACTOR]

    def expected(self, interval: Interval) -> Expected:
        """Returns the expected records of an interval."""
        start, end = interval
        seen = bisect_left(self._seconds, end) - bisect_left(self._seconds, start)
        estimated, is_seen = 0.0, True
        for piece in self._pieces[bisect_right(self._piece_ends, start) :]:
            if piece.interval.start_second >= end:
                break
            part = min(end, piece.interval.end_second) - max(start, piece.interval.start_second)
            estimated, is_seen = estimated + part * piece.density, False
        return Expected(seen, estimated, is_seen)

    def hourly_ratios(self) -> list[float]:
        """Returns how the densities of single hours compare with the mean around them; their mean is 1."""
        return _normalized([ratio for _, ratio in self._ratios()])

    def daily_ratios(self) -> list[float]:
        """Returns how the densities of the days of the week compare with each other; their mean is 1."""
        by_day = sorted((_weekday(second), ratio) for second, ratio in self._ratios())
        groups = [[ratio for _, ratio in group] for _, group in groupby(by_day, key=_first)]
        return _normalized([sum(group) / len(group) for group in groups])

    @property
    def covered_seconds(self) -> int:
        """How much time the pages cover."""
        return sum(interval.seconds for interval in self._covered)

    def _of_stratum(self, number: int) -> tuple[float, float]:
        """Returns the densities before and behind the page of a stratum, as the means of its pages."""
        before, behind = [], []
        for (start, end), seconds in self._samples[number]:
            length = min(self._lengths[number], end - start)
            page = Sample(Interval(start, end), seconds)
            density = page.density(start, start + length)
            before.append(density)
            is_outage = not density and end - start > _OUTAGE_SECONDS
            behind.append(page.density(end - length, end) if is_outage else density)
        return sum(before) / len(before), sum(behind) / len(behind)

    def _uncovered(self, strata: Sequence[Stratum]) -> Iterator[_Piece]:
        for stratum, (before, behind) in zip(strata, self._densities, strict=True):
            for interval in stratum.intervals:
                for start, end in _gaps(interval, self._covered):
                    middle = min(max(start, stratum.sample_second), end)
                    yield from _pieces(start, middle, before)
                    yield from _pieces(middle, end, behind)

    def _ratios(self) -> Iterator[tuple[int, float]]:
        starts = [before for before, _ in self._densities]
        for group, density, near in zip(self._samples, starts, _around(starts, _OUTLIER_NEIGHBOURS), strict=True):
            mean = sum(near) / len(near)
            if mean > 0:
                yield group[0].interval.start_second, density / mean


def _around(values: Sequence[_Value], count: int) -> Iterator[Sequence[_Value]]:
    for number in range(len(values)):
        yield values[max(0, number - count) : number + count + 1]


def _short_length(samples: Sequence[Sample]) -> int:
    lengths = sorted(sample.interval.seconds for sample in samples)
    return max(1, lengths[int(len(lengths) * _SHORT_SHARE)])


def _merged(intervals: Iterable[Interval]) -> Iterator[Interval]:
    """Yields the union of sorted intervals."""
    reached: Interval | None = None
    for interval in intervals:
        if reached is None:
            reached = interval
        elif interval.start_second <= reached.end_second:
            reached = Interval(reached.start_second, max(reached.end_second, interval.end_second))
        else:
            yield reached
            reached = interval
    if reached is not None:
        yield reached


def _without_repeats(samples: Iterable[Sample]) -> Iterator[int]:
    """Yields the event times of sorted pages, those that two pages share only once."""
    reached = 0
    for (start, end), seconds in samples:
        yield from seconds[bisect_left(seconds, max(start, reached)) : bisect_left(seconds, end)]
        reached = max(reached, end)


def _gaps(interval: Interval, covered: Sequence[Interval]) -> Iterator[Interval]:
    """Yields the parts of an interval that no page covers."""
    reached = interval.start_second
    for start, end in covered:
        if start >= interval.end_second:
            break
        if end > reached:
            if start > reached:
                yield Interval(reached, start)
            reached = end
    if reached < interval.end_second:
        yield Interval(reached, interval.end_second)


def _pieces(start: int, end: int, density: float) -> Iterator[_Piece]:
    if start < end:
        yield _Piece(Interval(start, end), density)


def _weekday(second: int) -> int:
    return (second // _DAY_SECONDS + _FIRST_WEEKDAY) % 7


def _first(pair: tuple[int, float]) -> int:
    return pair[0]


def _normalized(ratios: Sequence[float]) -> list[float]:
    mean = sum(ratios) / len(ratios) if ratios else 0.0
    return [ratio / mean for ratio in ratios] if mean > 0 else [1.0]
