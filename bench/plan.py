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
    """All contenders, as much of it as about forty quiet minutes hold; what matters most comes first.

    Five turns: everybody in the form all share and ours in all forms on the small day; the shared form late; ours on
    the large day. Three: the others' other forms, and ours late on the large day. One: the others on the large day,
    where a run takes minutes, at once and late.
    """
    ours = tuple(Lane("ours", form) for form in FORMS["ours"])
    shared = tuple(Lane(name, forms[0]) for name, forms in FORMS.items() if name != "ours")
    others = tuple(lane for lane in shared if lane.contender != "ours_in_task")
    further = tuple(Lane(lane.contender, form) for lane in others for form in FORMS[lane.contender][1:])
    return [
        Scene(SMALL, 0, ours + shared, 5),
        Scene(SMALL, 50, ours[:3] + shared, 5),
        Scene(LARGE, 0, ours[:4], 5),
        Scene(SMALL, 0, further, 3),
        Scene(LARGE, 50, ours[:1], 3),
        Scene(LARGE, 0, others, 1),
        Scene(LARGE, 50, others, 1),
    ]


def full_plan() -> list[Scene]:
    """All contenders in all their forms on both days at both latencies, five times."""
    lanes = tuple(Lane(name, form) for name, forms in FORMS.items() for form in forms)
    return [Scene(count, latency, lanes, 5) for count in (SMALL, LARGE) for latency in LATENCIES_MS]


def quick_plan() -> list[Scene]:
    """Our forms on the small day without latency, three times: for looking while one works."""
    return [Scene(SMALL, 0, tuple(Lane("ours", form) for form in FORMS["ours"]), 3)]
