"""Plan of the benchmark: which contender is measured on which day, latency and form, and how often.

Invariant: contenders of one scene take turns, so that a busy minute of the machine affects all of them.
"""

from __future__ import annotations

from typing import NamedTuple

from bench.contenders import FORMS

SMALL, LARGE = 100_000, 1_000_000
LATENCIES_MS = (0, 50)
TURN_COUNT, QUICK_TURN_COUNT = 5, 3
SMALL_ONLY = ("ours_in_task", "sdk_alone")
# Forms of a landed window; tables and events are measured only on the small day without latency.
LANDED_FORMS = ("jsonl.gz", "jsonl.zst", "parquet", "parquet normalized")


class Lane(NamedTuple):
    """A contender in one form."""

    contender: str
    form: str

    @property
    def is_ours(self) -> bool:
        """Whether this provider is measured."""
        return self.contender.startswith("ours")

    @property
    def is_alone(self) -> bool:
        """Whether it runs with nothing beside it."""
        return self.is_ours or self.contender.endswith("_alone")


class Scene(NamedTuple):
    """One day at one latency, and how often each contender has read it at the end, earlier scenes included."""

    record_count: int
    latency_ms: int
    lanes: tuple[Lane, ...]
    run_count: int


def whole_plan() -> list[Scene]:
    """Returns the plan: every contender five times, on both days, at both latencies, in every form that it supports.

    The large days come last, in two rounds: they take two of the three hours, and an interrupted run has some of all.
    Two contenders are measured only on the small day: the operator's ``execute``, which differs from ``pull_window`` by
    the cost of one task, and the SDK with nothing beside it. So are tables and events, without latency.
    """
    lanes = [Lane(name, form) for name, forms in FORMS.items() for form in forms]
    landed = tuple(lane for lane in lanes if lane.form in LANDED_FORMS)
    large = tuple(lane for lane in landed if lane.contender not in SMALL_ONLY)
    return [
        Scene(SMALL, 0, tuple(lanes), TURN_COUNT),
        Scene(SMALL, 50, landed, TURN_COUNT),
        *(Scene(LARGE, latency_ms, large, count) for count in (2, TURN_COUNT) for latency_ms in LATENCIES_MS),
    ]


def quick_plan() -> list[Scene]:
    """Returns a short plan: this provider's forms on the small day without latency, three times."""
    return [Scene(SMALL, 0, tuple(Lane("ours", form) for form in FORMS["ours"]), QUICK_TURN_COUNT)]
