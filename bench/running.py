"""Runs the scenes of a plan: a server for each, a process for every run.

Knows: how to start a lane and talk to it. Must not know: what the figures mean.
Its one rule: a run that does not land every record stops the benchmark.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from bench.plan import Lane, Scene
from bench.source import Source, running_fake

PROXIES = {"http_proxy", "https_proxy", "all_proxy"}
Tell = Callable[[str], object]


class Run(NamedTuple):
    """The figures of one run: ``record_count`` is the day's, ``landed_count`` may be more.

    Bytes are above those held after imports, CPU and wall seconds are those of the pull alone.
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

    def __str__(self) -> str:
        micros, rate = self.cpu_seconds / self.record_count * 1e6, self.record_count / self.wall_seconds
        return (
            f"{self.contender} {self.form}: {micros:.1f} µs CPU a record, {rate:,.0f} records/s, "
            f"{self.peak_bytes / 1e6:.0f} MB, {self.request_count} requests"
        )


def run_scenes(scenes: Sequence[Scene], workplace: Path, tell: Tell) -> Iterator[Run]:
    """Yield the runs of all scenes, in turns."""
    workplace.mkdir(parents=True, exist_ok=True)
    for scene in scenes:
        tell(f"== {scene.record_count:,} records, {scene.latency_ms} ms latency, {scene.run_count} turns")
        with running_fake(scene.record_count, scene.latency_ms) as source:
            for _ in range(scene.run_count):
                for lane in scene.lanes:
                    run = run_lane(lane, scene, source, workplace)
                    tell(str(run))
                    yield run


def run_lane(lane: Lane, scene: Scene, source: Source, workplace: Path) -> Run:
    """Run one contender once, in a process and a folder of its own."""
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
    # The server takes `before` as inclusive; who does not know lands some records of the next day as well.
    if figures["landed_count"] < scene.record_count:
        raise RuntimeError(f"{lane.contender} landed {figures['landed_count']} of {scene.record_count} records.")
    request_count = source.request_count() - before
    return Run(*lane, scene.latency_ms, scene.record_count, request_count=request_count, **figures)


def environment(workplace: Path) -> dict[str, str]:
    """The environment of a contender: no proxies, an Airflow home of its own, no pinning and no tuning."""
    kept = {name: value for name, value in os.environ.items() if name.lower() not in PROXIES}
    home = {"AIRFLOW_HOME": str(workplace / "airflow"), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    return {**kept, **home, "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING"}
