"""Measurements that the goals need, each of which runs in a process of its own.

Invariant: a piece returns values of JSON; what it measures does not depend on the pieces before it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from bench import growth, history_in_one_task, loading, steps
from bench.goals.requests import count_pages, count_polls
from bench.task_start import __main__ as task_start
from bench.task_start.environments import PACKAGES

STEPS = ("listing", "pseudonyms", "encoding", "verification", "side_by_side")


class Scale(NamedTuple):
    """How much is measured."""

    sizes: tuple[tuple[int, int], ...]
    load_records: int
    load_runs: int
    environments: tuple[str, ...]
    task_runs: int
    page_records: int
    sensors: int
    minutes: int
    days: int


WHOLE = Scale(growth.SIZES, 250_000, 5, tuple(PACKAGES), task_start.RUNS, 300_000, 500, 10, 60)
SMALL = Scale(growth.SIZES[:1], 20_000, 1, ("bare",), 1, 20_000, 20, 2, 3)


def _growth(scale: Scale) -> dict[str, Any]:
    return growth.run(scale.sizes)


def _loading(scale: Scale) -> dict[str, Any]:
    return loading.run("--records", str(scale.load_records), "--runs", str(scale.load_runs))


def _task_start(scale: Scale) -> dict[str, Any]:
    return task_start.run(list(scale.environments), scale.task_runs)


def _steps(_: Scale) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in STEPS:
        for figure in steps.STEPS[name]():
            print(figure, flush=True)
            found[figure.name] = round(figure.value, 2)
    return found


def _sensors(scale: Scale) -> dict[str, Any]:
    return count_polls(scale.sensors, scale.minutes)


def _pages(scale: Scale) -> dict[str, Any]:
    return count_pages(scale.page_records)


def _one_task(scale: Scale) -> dict[str, Any]:
    runs = list(history_in_one_task.measured([scale.days]))
    return {"days": scale.days, "cpu_seconds": {str(run.task_count): round(run.cpu_seconds, 1) for run in runs}}


PIECES: dict[str, Callable[[Scale], dict[str, Any]]] = {
    "sensors": _sensors,
    "pages": _pages,
    "task_start": _task_start,
    "loading": _loading,
    "one_task": _one_task,
    "steps": _steps,
    "growth": _growth,
}


def measure(name: str, scale: Scale) -> dict[str, Any]:
    """Returns the figures of a piece."""
    return PIECES[name](scale)
