"""``python -m bench.profiling``: CPU time of this provider's pull, by stage and by function.

Invariant: stages are accurate to a few per cent; functions are not, because a profiler overstates small ones.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

from airflow_audit_provider.adapters.cloudflare import parallel as side_by_side
from bench.contenders import FORMS
from bench.contenders.ours import pull
from bench.fake_server import running_fake
from bench.job import Job
from bench.meter import read_meter
from bench.stages import watched

FUNCTIONS_SHOWN = 25
PULLS = 3
OTHER_THREADS = "in other threads (Arrow's)"


class SameThread:
    """Replacement for the thread pool that runs each call at once, in the profiled thread."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def submit(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        """Returns a completed future."""
        future: Future[Any] = Future()
        future.set_result(function(*args))
        return future

    def shutdown(self, **_: Any) -> None:
        """Does nothing: there is no thread to end."""


def main() -> int:
    """Prints the stages of every requested form and, with ``--functions``, the functions."""
    parser = argparse.ArgumentParser(prog="python -m bench.profiling", description=__doc__)
    parser.add_argument("forms", nargs="*", default=FORMS["ours"], help=", ".join(FORMS["ours"]))
    parser.add_argument("--records", type=int, default=100_000, help="size of the day")
    parser.add_argument("--functions", action="store_true", help="also what cProfile says")
    parser.add_argument("--json", action="store_true", help="the stages alone, as a line of JSON")
    asked = parser.parse_args()
    with running_fake(asked.records, 0) as source, mock.patch.object(side_by_side, "ThreadPoolExecutor", SameThread):
        jobs = [source.job._replace(form=form) for form in asked.forms]
        stages = {job.form: _stages(job, asked.records) for job in jobs}
        print(json.dumps(stages) if asked.json else _shown(stages))
        if asked.functions:
            for job in jobs:
                _print_functions(job)
    return 0


def _landed(job: Job) -> None:
    with TemporaryDirectory() as folder:
        pull(job._replace(folder=folder))


def _stages(job: Job, record_count: int) -> dict[str, float]:
    """Returns µs of CPU a record by stage, as medians of a few pulls."""
    with TemporaryDirectory() as folder:
        pull(job.of_first_minute(folder))
    pulls = [_one_pull(job) for _ in range(PULLS)]
    return {name: median(each.get(name, 0.0) for each in pulls) / record_count * 1e6 for name in pulls[0]}


def _one_pull(job: Job) -> dict[str, float]:
    """Returns the CPU seconds of one pull by stage."""
    before = read_meter()
    with watched() as watch:
        _landed(job)
        spent_seconds = watch.stop()
    cpu_seconds = read_meter().cpu_seconds - before.cpu_seconds
    return {**spent_seconds, OTHER_THREADS: max(0.0, cpu_seconds - sum(spent_seconds.values()))}


def _shown(stages: dict[str, dict[str, float]]) -> str:
    return "\n".join(line for form, micros in stages.items() for line in _lines(form, micros))


def _lines(form: str, micros: dict[str, float]) -> Iterable[str]:
    yield f"\n{form}: {sum(micros.values()):.2f} µs CPU a record in one thread"
    for name, each in sorted(micros.items(), key=lambda item: -item[1]):
        yield f"  {each:6.2f}  {name}"


def _print_functions(job: Job) -> None:
    profile = cProfile.Profile()
    profile.runcall(_landed, job)
    pstats.Stats(profile).strip_dirs().sort_stats("tottime").print_stats(FUNCTIONS_SHOWN)


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))
    sys.exit(main())
