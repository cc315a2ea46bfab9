"""Lateness of records, measured from commits: when records appeared after their event, and which settings follow.

::

    event ──── end of window ──── first commit ──── reading without it ──── reading with it
                                                    └─ appeared between these two ────────┘

The commit log states when the reading of each commit began. A late record was not in the reading of the generation
before the one that added it, so it appeared between the two. A record of the first commit appeared at some time before
it, which no later reading can tell.

Invariant: the true lateness of each late record lies within its bounds, up to the time that a reading takes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from airflow_audit_provider.core.archive.manifest import Manifest
from airflow_audit_provider.core.windows.window import SECOND_NS, TimeWindow, to_ns

# The settings are chosen so that they miss at most one record in a thousand, with a confidence of 95 %.
MISSED_SHARE = 0.001
CONFIDENCE = 0.95
# A window whose first reading began later than this after it was due, was landed by a backfill or after an outage.
PROMPT = timedelta(hours=1)
# From this share of the lookback on, records that are later still are likely to exist.
_CENSORED_SHARE = 0.9
_SETTLE_STEP_SECONDS, _LOOKBACK_STEP_SECONDS = 300, 3600


class ReadAt(NamedTuple):
    """When the readings of the attempts at one generation began: the first and the last of them."""

    first_at: datetime
    last_at: datetime


class Arrival(NamedTuple):
    """Late records of one part.

    ``unseen_at`` is a time at which they had not appeared, ``seen_at`` the start of the reading that found them. Event
    times are those of the earliest and the latest record.
    """

    window: TimeWindow
    record_count: int
    first_event_ns: int
    last_event_ns: int
    unseen_at: datetime
    seen_at: datetime

    @property
    def needed_seconds(self) -> float:
        """How long after the end of its window a reading surely finds the records."""
        return (self.seen_at - self.window.end).total_seconds()

    def at_most(self) -> list[tuple[float, int]]:
        """Returns upper bounds of the lateness in seconds, each with its number of records."""
        return self._bounds(to_ns(self.seen_at), self.first_event_ns, self.last_event_ns)

    def at_least(self) -> list[tuple[float, int]]:
        """Returns lower bounds of the lateness in seconds, each with its number of records."""
        return self._bounds(to_ns(self.unseen_at), self.last_event_ns, self.first_event_ns)

    def _bounds(self, at_ns: int, most_ns: int, one_ns: int) -> list[tuple[float, int]]:
        """Returns one record with the time ``one_ns`` and all others with ``most_ns``."""
        pairs = [((at_ns - one_ns) / SECOND_NS, 1), ((at_ns - most_ns) / SECOND_NS, self.record_count - 1)]
        return [(max(0.0, seconds), count) for seconds, count in pairs if count]


class WindowReadings(NamedTuple):
    """What the commits of one window show. ``first_read_at`` is None if it is unknown, or the window was replaced."""

    window: TimeWindow
    first_read_at: datetime | None
    first_count: int
    arrivals: tuple[Arrival, ...]

    def is_prompt(self, settle_delay: timedelta) -> bool:
        """Returns whether the window was first read about when it was due."""
        return self.first_read_at is not None and self.first_read_at <= self.window.settled_at(settle_delay) + PROMPT


def undecided_generation(manifest: Manifest) -> int | None:
    """Returns the generation whose own manifest tells whether it added to an empty window or replaced another one."""
    kept = [manifest.added_by(part) or 1 for part in manifest.parts]
    first = min(kept, default=1)
    return first if 1 < first < manifest.generation else None


def readings_of(manifest: Manifest, read_at: Mapping[int, ReadAt], undecided: Manifest | None = None) -> WindowReadings:
    """Returns what a window's newest manifest and the commit log show.

    ``read_at`` is by generation. ``undecided`` is the manifest that :func:`undecided_generation` names.
    """
    numbers = {part: manifest.added_by(part) or 1 for part in manifest.parts}
    oldest = min(numbers.values(), default=1)
    decided = undecided or manifest
    is_replaced = oldest > 1 and not (decided.generation == oldest and decided.added_ids)
    base = oldest if is_replaced else 1
    arrivals = []
    for part, number in numbers.items():
        seen = read_at.get(number)
        if number > base and seen is not None:
            before = read_at.get(number - 1)
            # Without an entry: a window is never read before its end.
            unseen_at = manifest.window.end if before is None else before.first_at
            times = (part.first_event_ns, part.last_event_ns, unseen_at, seen.last_at)
            arrivals.append(Arrival(manifest.window, part.record_count, *times))
    first = read_at.get(1)
    first_read_at = None if is_replaced or first is None else first.last_at
    first_count = sum(part.record_count for part, number in numbers.items() if number == base)
    return WindowReadings(manifest.window, first_read_at, first_count, tuple(arrivals))


class Quantiles(msgspec.Struct, frozen=True):
    """Seconds that half, 95 %, 99 % and 99.9 % of the late records do not exceed, and the seconds of the latest one."""

    p50: float
    p95: float
    p99: float
    p99_9: float
    longest: float


class Proposal(msgspec.Struct, frozen=True):
    """A setting, and what it misses of the measured records; lengths are in seconds.

    ``proposed`` is None if ``record_count`` is less than ``needed_count``: then no value can be stated with the
    confidence. ``none_missed`` is the shortest value that misses none of the measured records, None without a record.
    ``missed_now`` is what the current value misses, ``missed_proposed`` what the proposed one does.
    """

    current: float | None
    proposed: float | None
    none_missed: float | None
    record_count: int
    needed_count: int
    missed_now: int | None
    missed_proposed: int | None

    @property
    def is_enough(self) -> bool:
        """Whether there are enough records for a proposal."""
        return self.record_count >= self.needed_count


class Lateness(msgspec.Struct, frozen=True):
    """How late the records were, and the settings that are proposed because of it.

    ``first_count`` records were in the first commit of their window, ``late_count`` records were not.
    ``addition_count`` is the number of parts that added late records: those of one part may have one cause.
    ``at_least`` and ``at_most`` bound the true quantiles of the lateness, from event to appearance; None without a late
    record. ``longest_surely_bounded`` is a share: with a confidence of 95 %, at least this share of late records is
    not later than the latest one here.

    ``is_censored`` is true if records came as late as the lookback can show: then there are probably later ones, which
    it cannot show. Three counts are of windows: ``open_count`` of those that the lookback still reads again,
    ``unknown_count`` of those that have no entry in the commit log or were replaced, and ``delayed_count`` of those
    that were first read long after they were due. The proposal of the settle delay counts the records of all other
    windows. The proposal of the lookback counts the late records of all windows.
    """

    window_count: int
    unknown_count: int
    delayed_count: int
    open_count: int
    first_count: int
    late_count: int
    addition_count: int
    at_least: Quantiles | None
    at_most: Quantiles | None
    longest_surely_bounded: float | None
    is_censored: bool
    settle_delay: Proposal
    lookback: Proposal


def lateness_of(
    readings: Sequence[WindowReadings], now: datetime, settle_delay: timedelta, lookback: timedelta | None
) -> Lateness:
    """Returns the lateness that windows show, and the proposals beside the current settings."""
    arrivals = [arrival for one in readings for arrival in one.arrivals]
    known = [one for one in readings if one.first_read_at is not None]
    prompt = [one for one in known if one.is_prompt(settle_delay)]
    opened = [one for one in prompt if lookback is not None and one.window.end > now - lookback]
    closed = prompt if lookback is None else [one for one in prompt if one.window.end <= now - lookback]
    late_count = sum(arrival.record_count for arrival in arrivals)
    longest = max((arrival.needed_seconds for arrival in arrivals), default=0.0)
    return Lateness(
        window_count=len(readings),
        unknown_count=len(readings) - len(known),
        delayed_count=len(known) - len(prompt),
        open_count=len(opened),
        first_count=sum(one.first_count for one in prompt),
        late_count=late_count,
        addition_count=len(arrivals),
        at_least=_quantiles(pair for arrival in arrivals for pair in arrival.at_least()),
        at_most=_quantiles(pair for arrival in arrivals for pair in arrival.at_most()),
        longest_surely_bounded=round((1 - CONFIDENCE) ** (1 / late_count), 4) if late_count else None,
        is_censored=lookback is not None and longest > _CENSORED_SHARE * lookback.total_seconds(),
        settle_delay=_settle_proposal(closed, settle_delay.total_seconds()),
        lookback=_lookback_proposal(_looked_back(readings), None if lookback is None else lookback.total_seconds()),
    )


def _settle_proposal(windows: Iterable[WindowReadings], current: float) -> Proposal:
    """Returns the shortest settle delay that has all but the missed share of records in the first commit.

    A shorter one than the current is never proposed: when the records of the first commit appeared is unknown.
    """
    needed, first_count = [], 0
    for one in windows:
        first_count += one.first_count
        needed += [(arrival.needed_seconds, arrival.record_count) for arrival in one.arrivals]
    late_count = sum(count for _, count in needed)
    total = first_count + late_count
    most = allowed_misses(total)
    proposed = None if most is None else max(current, _rounded_up(_exceeded_by(needed, most), _SETTLE_STEP_SECONDS))
    if most is not None and late_count <= most:
        proposed = current
    return Proposal(
        current=current,
        proposed=proposed,
        none_missed=_rounded_up(_exceeded_by(needed, 0), _SETTLE_STEP_SECONDS) if needed else None,
        record_count=total,
        needed_count=NEEDED_COUNT,
        missed_now=late_count,
        missed_proposed=_missed(needed, proposed, late_count, current),
    )


def _missed(needed: list[tuple[float, int]], proposed: float | None, late_count: int, current: float) -> int | None:
    if proposed is None:
        return None
    return late_count if proposed == current else _count_above(needed, proposed)


def _looked_back(readings: Sequence[WindowReadings]) -> list[tuple[float, int]]:
    """Returns which lookback finds each arrival, with its number of records.

    A lookback counts from the start of the run's own window, and the run begins when that window is over. Which length
    it has is unknown; the shortest of all windows makes the lookback rather too long.
    """
    shortest = min((one.window.length.total_seconds() for one in readings), default=0.0)
    arrivals = (arrival for one in readings for arrival in one.arrivals)
    return [(max(0.0, one.needed_seconds - shortest), one.record_count) for one in arrivals]


def _lookback_proposal(needed: list[tuple[float, int]], current: float | None) -> Proposal:
    """Returns the shortest lookback that finds all but the missed share of the late records."""
    total = sum(count for _, count in needed)
    most = allowed_misses(total)
    proposed = None if most is None else _rounded_up(_exceeded_by(needed, most), _LOOKBACK_STEP_SECONDS)
    return Proposal(
        current=current,
        proposed=proposed,
        none_missed=_rounded_up(_exceeded_by(needed, 0), _LOOKBACK_STEP_SECONDS) if needed else None,
        record_count=total,
        needed_count=NEEDED_COUNT,
        missed_now=None if current is None else _count_above(needed, current),
        missed_proposed=None if proposed is None else _count_above(needed, proposed),
    )


def allowed_misses(count: int) -> int | None:
    """Returns how many of so many independent records may exceed a value that surely is the 99.9 % quantile or more.

    It is the largest number for which the chance is at most 5 % that no more of them exceed the true quantile. None if
    even zero is too many: from fewer than 2,995 records nothing can be said with this confidence.
    """
    if count < NEEDED_COUNT:
        return None
    log_odds = math.log(MISSED_SHARE) - math.log1p(-MISSED_SHARE)
    log_chance, total, misses = count * math.log1p(-MISSED_SHARE), 0.0, -1
    while (total := total + math.exp(log_chance)) <= 1 - CONFIDENCE:
        misses += 1
        log_chance += math.log((count - misses) / (misses + 1)) + log_odds
    return misses


NEEDED_COUNT = math.ceil(math.log(1 - CONFIDENCE) / math.log1p(-MISSED_SHARE))


def _quantiles(pairs: Iterable[tuple[float, int]]) -> Quantiles | None:
    ordered = sorted(pairs)
    total = sum(count for _, count in ordered)
    if not total:
        return None
    shares = (0.5, 0.95, 0.99, 0.999, 1.0)
    return Quantiles(*(_at_rank(ordered, max(1, math.ceil(round(share * total, 6)))) for share in shares))


def _at_rank(ordered: Iterable[tuple[float, int]], rank: int) -> float:
    """Returns the value at a rank, counted from 1, of sorted values with their numbers."""
    for value, count in ordered:
        rank -= count
        if rank <= 0:
            return value
    return 0.0


def _exceeded_by(needed: Iterable[tuple[float, int]], most: int) -> float:
    """Returns the smallest of the values, or 0, that at most so many records exceed."""
    for value, count in sorted(needed, reverse=True):
        most -= count
        if most < 0:
            return value
    return 0.0


def _count_above(needed: Iterable[tuple[float, int]], limit: float) -> int:
    return sum(count for value, count in needed if value > limit)


def _rounded_up(seconds: float, step_seconds: int) -> float:
    return float(math.ceil(seconds / step_seconds) * step_seconds)
