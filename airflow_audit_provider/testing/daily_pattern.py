"""Daily pattern: how many records a day has, and at which times.

Invariant: the same seed and day give the same times on every machine and in every process.
"""

from __future__ import annotations

import hashlib
from itertools import accumulate
from random import Random  # noqa: TID251 - seeded, so the output is deterministic
from typing import NamedTuple

WEEKDAYS = (1.2, 1.35, 1.3, 1.3, 1.15, 0.45, 0.3)
_HOURS = (2, 2, 7, 2, 2, 2, 3, 6, 11, 15, 16, 14, 10, 13, 16, 15, 13, 9, 6, 4, 4, 3, 3, 2)
_HOURS_SUMMED = tuple(accumulate(_HOURS))
_HOUR_MICROS = 3_600_000_000
_DAY_MICROS = 24 * _HOUR_MICROS
_LAST_MILLISECOND = _DAY_MICROS - 1000
# How many fraction digits real records show (none, 3, 5 and 6), and how often each is drawn here.
_DIGITS = (0, 3, 3, 5, 5, 6, 6, 6, 6, 6)
_STEPS = {0: 1_000_000, 3: 1000, 5: 10, 6: 1}


class Moment(NamedTuple):
    """Microseconds after midnight UTC, and the fraction digits its text has."""

    micros: int
    digits: int


def seeded(*facts: object) -> Random:
    """Returns a random generator that depends only on ``facts``."""
    digest = hashlib.blake2b("|".join(map(str, facts)).encode(), digest_size=16).digest()
    return Random(int.from_bytes(digest, "big"))  # noqa: S311 - test records, no secrets


def count_on(seed: int, feed: str, day: int, mean: int) -> int:
    """Returns the number of records of a day: high on weekdays, low on Sundays, zero on one Sunday in eight."""
    weekday = (day + 3) % 7  # 1970-01-01 was a Thursday
    if weekday == 6 and (day // 7 + seed) % 8 == 0:
        return 0
    draw = seeded(seed, feed, day, "count").random
    season = 0.85 + 0.3 * abs(day % 90 - 45) / 45
    spike = 2.5 if draw() < 1 / 45 else 1.0
    return round(mean * WEEKDAYS[weekday] * season * spike * (0.8 + 0.4 * draw()))


def moments(rng: Random, count: int) -> list[Moment]:
    """Returns the sorted times of a day, including its bounds and ties."""
    edges = _edges(rng)[:count]
    drawn = _drawn(rng, count - len(edges))
    return sorted(edges + drawn)


def _edges(rng: Random) -> list[Moment]:
    """Returns midnight, one whole hour, and one millisecond around both (before midnight: the last of the day)."""
    hour = rng.randrange(1, 24) * _HOUR_MICROS
    return [
        Moment(0, 0),
        Moment(_LAST_MILLISECOND, 3),
        Moment(1000, 3),
        Moment(hour, 0),
        Moment(hour - 1000, 3),
        Moment(hour + 1000, 6),
    ]


def _drawn(rng: Random, count: int) -> list[Moment]:
    """Draws times by the hour's weight; one in sixteen repeats the time before, two in sixteen share its second."""
    found: list[Moment] = []
    hours = rng.choices(range(24), cum_weights=_HOURS_SUMMED, k=count)
    kinds = rng.randbytes(count)
    draw = rng.random
    last = Moment(0, 0)
    for hour, kind in zip(hours, kinds, strict=True):
        tie = kind & 15
        if tie:
            digits = _DIGITS[kind % 10]
            if tie < 3:
                micros = last.micros - last.micros % 1_000_000 + int(draw() * 1_000_000)
            else:
                micros = hour * _HOUR_MICROS + int(draw() * _HOUR_MICROS)
            last = Moment(micros - micros % _STEPS[digits], digits)
        found.append(last)
    return found
