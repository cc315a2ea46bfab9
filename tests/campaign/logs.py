"""A random audit log around a random window: what the server truly holds.

Invariant: a log and its window depend only on the random state they are drawn from.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import NamedTuple

from tests.campaign.audit_records import ODD_KINDS, SECOND_NS, RecordWriter, Row, nanoseconds, spread

_FIRST_DAY_AT = datetime(2026, 4, 1, tzinfo=UTC)
_LENGTHS = (
    timedelta(seconds=7),
    timedelta(minutes=5),
    timedelta(hours=1),
    timedelta(hours=1),
    timedelta(days=1),
    timedelta(days=1),
    timedelta(days=3),
)
_DAY_NS = 86_400 * SECOND_NS


class Bounds(NamedTuple):
    """The half-open window, in nanoseconds since the epoch."""

    start_ns: int
    end_ns: int

    def __contains__(self, at_ns: object) -> bool:
        return isinstance(at_ns, int) and self.start_ns <= at_ns < self.end_ns


class TrueLog(NamedTuple):
    """The rows a server holds, in no order, and the window to pull; ``now`` is when the pull starts."""

    version: str
    start: datetime
    end: datetime
    now: datetime
    rows: tuple[Row, ...]

    @property
    def bounds(self) -> Bounds:
        """The window in nanoseconds."""
        return Bounds(nanoseconds(self.start), nanoseconds(self.end))

    @property
    def inside(self) -> list[Row]:
        """The rows of the window."""
        bounds = self.bounds
        return [row for row in self.rows if row.at_ns in bounds]


def _quiet(rng: Random, start_ns: int, end_ns: int) -> list[int]:
    return spread(rng, start_ns, end_ns, rng.randint(1, 60))


def _busy(rng: Random, start_ns: int, end_ns: int) -> list[int]:
    return spread(rng, start_ns, end_ns, rng.randint(100, 900))


def _dense(rng: Random, start_ns: int, end_ns: int) -> list[int]:
    return spread(rng, start_ns, end_ns, rng.randint(1000, 3000))


def _no_rows(rng: Random, start_ns: int, end_ns: int) -> list[int]:
    return []


def _ties(rng: Random, start_ns: int, end_ns: int) -> list[int]:
    """Instants that many rows share, as a script leaves them."""
    instants = spread(rng, start_ns, end_ns, rng.randint(2, 20))
    return [rng.choice(instants) for _ in range(rng.randint(20, 400))]


def _edges(rng: Random, start_ns: int, end_ns: int) -> list[int]:
    """Instants at the ends of the window and of seconds, on both sides."""
    exact = [start_ns, end_ns, start_ns + SECOND_NS, end_ns - SECOND_NS]
    steps = (0, -1, 1, -1000, 1000, -1_000_000, SECOND_NS - 1, -SECOND_NS, SECOND_NS)
    return [instant + rng.choice(steps) for instant in exact for _ in range(rng.randint(1, 6))]


def _one_second(rng: Random, start_ns: int, end_ns: int) -> list[int]:
    """Nothing but one second of the window."""
    second_ns = rng.randrange(start_ns, end_ns) // SECOND_NS * SECOND_NS
    return _within(rng, second_ns, rng.choice((3, 15, 90, 150, 420)))


def _crowded(rng: Random, start_ns: int, end_ns: int) -> list[int]:
    """A second with many rows, and others around it."""
    second_ns = rng.randrange(start_ns, end_ns) // SECOND_NS * SECOND_NS
    around = spread(rng, start_ns, end_ns, rng.randint(10, 120))
    return around + _within(rng, second_ns, rng.choice((60, 140, 260, 700)))


def _burst(rng: Random, start_ns: int, end_ns: int) -> list[int]:
    """A thousand rows and more in one second of a quiet time."""
    second_ns = rng.randrange(start_ns, end_ns) // SECOND_NS * SECOND_NS
    return spread(rng, start_ns, end_ns, rng.randint(5, 80)) + _within(rng, second_ns, rng.randint(1000, 2200))


def _within(rng: Random, second_ns: int, count: int) -> list[int]:
    instants = spread(rng, second_ns, second_ns + SECOND_NS, rng.choice((1, 2, count)))
    return [rng.choice(instants) for _ in range(count)]


Shape = Callable[[Random, int, int], list[int]]
SHAPES: dict[str, Shape] = {
    "quiet": _quiet,
    "busy": _busy,
    "dense": _dense,
    "empty": _no_rows,
    "ties": _ties,
    "edges": _edges,
    "one second": _one_second,
    "crowded": _crowded,
    "burst": _burst,
}
USUAL_SHAPES = ("quiet", "quiet", "busy", "busy", "dense", "empty", "ties", "edges", "one second", "crowded", "burst")


def draw_log(
    rng: Random,
    version: str,
    shapes: tuple[str, ...] = USUAL_SHAPES,
    odd_count: int = 0,
    *,
    has_neighbours: bool = True,
) -> TrueLog:
    """Returns a random log with a random window in it, and the instant of the pull."""
    length = rng.choice(_LENGTHS)
    start = _FIRST_DAY_AT + timedelta(minutes=rng.randrange(200 * 24 * 60))
    if rng.random() < 0.1:
        start += timedelta(microseconds=rng.randrange(60_000_000))
    start_ns, end_ns = nanoseconds(start), nanoseconds(start + length)
    instants = SHAPES[rng.choice(shapes)](rng, start_ns, end_ns)
    # What lies around the window: nothing in a new account, else some days of other records.
    if has_neighbours and rng.random() < 0.85:
        instants += spread(rng, start_ns - 3 * _DAY_NS, start_ns, rng.randint(1, 40))
        instants += spread(rng, end_ns, end_ns + _DAY_NS // 8, rng.randint(0, 40))
    writer = RecordWriter(rng, version)
    rows = [writer.row(number, instant) for number, instant in enumerate(instants)]
    rows += _odd_rows(rng, writer, Bounds(start_ns, end_ns), len(rows), odd_count)
    age = timedelta(minutes=rng.choice((16, 40, 90, 24 * 60, 90 * 24 * 60)))
    return TrueLog(version, start, start + length, start + length + age, tuple(rows))


def _odd_rows(rng: Random, writer: RecordWriter, bounds: Bounds, first_number: int, count: int) -> list[Row]:
    kinds = rng.sample(sorted(ODD_KINDS), count)
    instants = [
        rng.randrange(bounds.start_ns, bounds.end_ns) if rng.random() < 0.9 else bounds.end_ns + _DAY_NS // 16
        for _ in kinds
    ]
    return [writer.odd_row(first_number + index, instants[index], kind) for index, kind in enumerate(kinds)]
