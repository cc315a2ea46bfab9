"""Which contender is measured on what, how often.

Knows: sizes, latencies, forms, numbers of runs. Must not know: how a run is made.
Its one rule: contenders of one scene take turns, so that a busy minute of the machine falls on all of them.
"""

from __future__ import annotations

from typing import NamedTuple

from bench.contenders import FORMS

SMALL, LARGE = 100_000, 1_000_000
LATENCIES_MS = (0, 50)


class Lane(NamedTuple):
    """One contender in one form."""

    contender: str
    form: str


class Scene(NamedTuple):
    """One server, and who reads from it how often."""

    record_count: int
    latency_ms: int
    lanes: tuple[Lane, ...]
    run_count: int


def default_plan() -> list[Scene]:
    """All contenders on the small day in the form they share, at both latencies; dlt, ours in all, ours large too."""
    ours = tuple(Lane("ours", form) for form in FORMS["ours"])
    shared = tuple(Lane(name, forms[0]) for name, forms in FORMS.items())
    # What latency changes, it changes whatever the form.
    late = tuple(lane for lane in shared if lane.contender != "ours_in_task")
    tables = tuple(Lane("dlt_rest", form) for form in FORMS["dlt_rest"][1:])
    return [Scene(SMALL, 0, shared + ours[1:] + tables, 5), Scene(SMALL, 50, late, 5), Scene(LARGE, 0, ours, 3)]


def full_plan() -> list[Scene]:
    """All contenders in all their forms on both days at both latencies."""
    lanes = tuple(Lane(name, form) for name, forms in FORMS.items() for form in forms)
    return [Scene(count, latency, lanes, runs) for count, runs in ((SMALL, 5), (LARGE, 3)) for latency in LATENCIES_MS]


def quick_plan() -> list[Scene]:
    """Our forms on the small day without latency, three times: for looking while one works."""
    return [Scene(SMALL, 0, tuple(Lane("ours", form) for form in FORMS["ours"]), 3)]
