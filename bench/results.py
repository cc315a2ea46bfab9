"""Figures of one benchmark, and their medians.

Invariant: each figure has its own median, over the runs of one lane on one scene.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import NamedTuple, Self

from bench.plan import Lane
from bench.running import Run

VERSIONED = (
    *("msgspec", "httpx", "isal", "zstandard", "pyarrow", "duckdb", "pyiceberg"),
    *("apache-airflow", "cloudflare", "dlt"),
)
HTTP_PROVIDER = "apache-airflow-providers-http"


class Median(NamedTuple):
    """Medians of one lane on one scene."""

    lane: Lane
    run_count: int
    micros: float
    records_per_second: float
    peak_mb: float
    request_count: float
    bytes_per_record: float
    landed_count: float

    @classmethod
    def of(cls, runs: list[Run]) -> Self:
        """Computes the median of each figure."""
        return cls(
            Lane(runs[0].contender, runs[0].form),
            len(runs),
            median(run.cpu_seconds / run.record_count * 1e6 for run in runs),
            median(run.record_count / run.wall_seconds for run in runs),
            median(run.peak_bytes / 1e6 for run in runs),
            median(run.request_count for run in runs),
            median(run.landed_bytes / run.record_count for run in runs),
            median(run.landed_count for run in runs),
        )


class Results(NamedTuple):
    """Results of one benchmark.

    ``imports_ms`` is CPU milliseconds by name; ``loads`` the load average of the machine after each run; ``stages``
    this provider's µs of CPU a record by form and stage; ``commit`` the measured commit; ``harness`` the commit of the
    files that determine the other contenders' figures; ``break_count`` how often the benchmark was interrupted.
    """

    measured_on: str
    command: str
    machine: str
    versions: dict[str, str]
    imports_ms: dict[str, float]
    runs: list[Run]
    loads: tuple[float, ...] = ()
    stages: dict[str, dict[str, float]] | None = None
    commit: str = ""
    harness: str = ""
    break_count: int = 0

    def scenes(self) -> list[tuple[int, int]]:
        """Returns the measured record counts and latencies, in order."""
        return sorted({(run.record_count, run.latency_ms) for run in self.runs})

    def medians(self, record_count: int, latency_ms: int) -> dict[Lane, Median]:
        """Returns the medians of one scene by lane."""
        by_lane: dict[Lane, list[Run]] = {}
        for run in self._of_scene(record_count, latency_ms):
            by_lane.setdefault(Lane(run.contender, run.form), []).append(run)
        return {lane: Median.of(runs) for lane, runs in by_lane.items()}

    def _of_scene(self, record_count: int, latency_ms: int) -> Iterator[Run]:
        return (run for run in self.runs if (run.record_count, run.latency_ms) == (record_count, latency_ms))

    @property
    def load(self) -> float | None:
        """Median load average, including the benchmark itself."""
        return median(self.loads) if self.loads else None

    def with_run(self, run: Run) -> Self:
        """Returns the results with one more run and the current load average."""
        return self._replace(runs=[*self.runs, run], loads=(*self.loads, os.getloadavg()[0]))

    def going_on(self, kept: Self) -> Self:
        """Returns the results with the stored runs of a benchmark, without this provider's runs of another commit.

        Raises ``ValueError`` if they are from another machine, other versions or another harness.
        """
        for name in ("machine", "versions", "harness"):
            was, is_now = getattr(kept, name), getattr(self, name)
            if was != is_now:
                raise ValueError(f"The figures kept are of another {name}: {was}, now {is_now}. Measure anew.")
        is_same = kept.commit == self.commit
        pairs = [
            (run, load)
            for run, load in zip(kept.runs, kept.loads, strict=True)
            if is_same or not Lane(run.contender, run.form).is_ours
        ]
        runs, loads = [run for run, _ in pairs], tuple(load for _, load in pairs)
        return self._replace(runs=runs, loads=loads, break_count=kept.break_count + 1)

    def write(self, path: Path) -> None:
        """Writes everything as JSON, one line a run."""
        runs = ",\n".join(json.dumps(run._asdict()) for run in self.runs)
        about = {name: value for name, value in self._asdict().items() if name != "runs"}
        path.write_text(f'{{"runs": [\n{runs}\n],\n{json.dumps(about, indent=1)[2:]}\n')

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads the output of ``write``."""
        fields = json.loads(path.read_text())
        return cls(**fields | {"runs": [Run(**run) for run in fields["runs"]]})


def describe_machine() -> str:
    """Returns a description of the machine without its name."""
    system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    return f"{system}, {platform.python_implementation()} {platform.python_version()}"


def installed(names: Iterable[str] = (*VERSIONED, HTTP_PROVIDER)) -> dict[str, str]:
    """Returns the installed versions of the contenders."""
    return {name: version(name) for name in names}
