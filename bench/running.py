"""Runs the scenes of a plan, each run in its own process.

Invariant: a run that does not land every record stops the benchmark.

This provider runs alone, with one server and all cores. The other contenders use one core at a time, so each gets a
core of its own with a server on it, and as many run as there are cores. Otherwise the plan would take twice as long;
``sdk_alone`` shows that no contender is slower for it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from typing import NamedTuple

from bench.fake_server import Source, running_fake
from bench.plan import Lane, Scene

# Each has its own server, which holds the whole day.
MOST_CORES = 4
PROXIES = {"http_proxy", "https_proxy", "all_proxy"}
Tell = Callable[[str], object]


class Run(NamedTuple):
    """Figures of one run: ``record_count`` is that of the day, ``landed_count`` can be higher.

    Memory is above that after the imports; CPU and wall seconds are those of the pull alone.
    """

    contender: str
    form: str
    latency_ms: int
    record_count: int
    landed_count: int
    request_count: int
    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int
    landed_bytes: int

    def is_of(self, scene: Scene) -> bool:
        """Whether the run belongs to this scene."""
        return (self.record_count, self.latency_ms) == (scene.record_count, scene.latency_ms)

    def __str__(self) -> str:
        micros, rate = self.cpu_seconds / self.record_count * 1e6, self.record_count / self.wall_seconds
        return (
            f"{self.contender} {self.form}: {micros:.1f} µs CPU a record, {rate:,.0f} records/s, "
            f"{self.peak_bytes / 1e6:.0f} MB, {self.request_count} requests"
        )


class Desk(NamedTuple):
    """Where a lane runs: its server, and the core that both are pinned to; None means all cores."""

    source: Source
    core: int | None


def run_scenes(scenes: Sequence[Scene], done: Sequence[Run], workplace: Path, tell: Tell) -> Iterator[Run]:
    """Yields the runs of all scenes in turns, except those that are stored already."""
    workplace.mkdir(parents=True, exist_ok=True)
    done = list(done)
    for scene in scenes:
        turns = turns_of(scene, done)
        tell(f"== {scene.record_count:,} records, {scene.latency_ms} ms latency: {sum(map(len, turns))} runs")
        if any(turns):
            for run in _run_turns(scene, turns, workplace, tell):
                done.append(run)
                yield run


def turns_of(scene: Scene, done: Sequence[Run]) -> list[list[Lane]]:
    """Returns the lanes that are still to be measured, turn by turn."""
    counts = Counter(Lane(run.contender, run.form) for run in done if run.is_of(scene))
    return [[lane for lane in scene.lanes if counts[lane] <= turn] for turn in range(scene.run_count)]


def _run_turns(scene: Scene, turns: list[list[Lane]], workplace: Path, tell: Tell) -> Iterator[Run]:
    most_others = max(sum(not lane.is_alone for lane in lanes) for lanes in turns)
    with ExitStack() as stack:
        alone = Desk(stack.enter_context(running_fake(scene.record_count, scene.latency_ms)), None)
        desks = [_desk(core, scene, stack) for core in _cores()[:most_others]] or [alone]
        for lanes in turns:
            lonely = [lane for lane in lanes if lane.is_alone]
            others = [lane for lane in lanes if not lane.is_alone]
            for run in chain(_run_at([alone], lonely, scene, workplace), _run_at(desks, others, scene, workplace)):
                tell(str(run))
                yield run


def _cores() -> list[int]:
    """Returns the cores to pin lanes to; none if the system does not support it."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return cores[:MOST_CORES]


def _desk(core: int, scene: Scene, stack: ExitStack) -> Desk:
    with _kept_on(core):
        return Desk(stack.enter_context(running_fake(scene.record_count, scene.latency_ms)), core)


@contextmanager
def _kept_on(core: int | None) -> Iterator[None]:
    """Pins this thread, and every process that it starts meanwhile, to a core."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _run_at(desks: list[Desk], lanes: list[Lane], scene: Scene, workplace: Path) -> Iterator[Run]:
    """Yields the runs of these lanes; each takes the next free place."""
    free: SimpleQueue[Desk] = SimpleQueue()
    for desk in desks:
        free.put(desk)

    def run(lane: Lane) -> Run:
        desk = free.get()
        try:
            with _kept_on(desk.core):
                return run_lane(lane, scene, desk.source, workplace)
        finally:
            free.put(desk)

    pool = ThreadPoolExecutor(len(desks))
    try:
        yield from (under_way.result() for under_way in as_completed([pool.submit(run, lane) for lane in lanes]))
    finally:
        # After a failure none of the waiting runs starts.
        pool.shutdown(cancel_futures=True)


def run_lane(lane: Lane, scene: Scene, source: Source, workplace: Path) -> Run:
    """Runs one contender once, in its own process and folder."""
    with TemporaryDirectory(dir=workplace, prefix="run-") as folder, (workplace / "lanes.log").open("ab") as log:
        landing = Path(folder) / "landing"
        landing.mkdir()
        job = source.job._replace(form=lane.form, folder=str(landing))
        command = [sys.executable, "-m", "bench.lane", lane.contender, job.to_text()]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": log}
        with subprocess.Popen(command, env=environment(workplace), text=True, **pipes) as child:  # type: ignore[call-overload]  # pipes by name
            return _talk(child, lane, scene, source)


def _talk(child: subprocess.Popen[str], lane: Lane, scene: Scene, source: Source) -> Run:
    assert child.stdin is not None
    assert child.stdout is not None
    if child.stdout.readline() != "ready\n":
        raise RuntimeError(f"{lane.contender} failed before it began; see lanes.log.")
    before = source.request_count()
    child.stdin.write("go\n")
    child.stdin.flush()
    answer = child.stdout.readline()
    if not answer:
        raise RuntimeError(f"{lane.contender} failed in its run; see lanes.log.")
    figures = json.loads(answer)
    # The server's `before` is inclusive, so a contender that does not account for it lands some records of the next
    # day.
    if figures["landed_count"] < scene.record_count:
        raise RuntimeError(f"{lane.contender} landed {figures['landed_count']} of {scene.record_count} records.")
    request_count = source.request_count() - before
    return Run(*lane, scene.latency_ms, scene.record_count, request_count=request_count, **figures)


def environment(workplace: Path) -> dict[str, str]:
    """Returns the environment of a contender: no proxies, its own Airflow home, no tuning."""
    kept = {name: value for name, value in os.environ.items() if name.lower() not in PROXIES}
    home = {"AIRFLOW_HOME": str(workplace / "airflow"), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    return {**kept, **home, "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING"}
