"""``python -m bench.task_start``: CPU time of a task of this provider above that of a task that does nothing.

Each task is forked by Airflow's own supervisor, parses its DAG file and runs, as in a worker. It is measured in an
environment with the provider alone and in one with the amazon, google, azure and openlineage providers and pandas, each
time also with a worker that is prepared as docs/how-to/task-start.md says.

Invariant: every task has a destination with one committed window and pulls the next one; it succeeds, with as many
records as the fake has.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from uuid import uuid4

from bench.fake_server import Source, running_fake
from bench.job import DAY, instant
from bench.running import PROXIES
from bench.task_start.environments import PACKAGES, python_of
from tests.adapters.storage.real_stores import S3Server, moto
from tests.docs.blocks import blocks_of

FIGURES = Path(__file__).with_name("figures.json")
PAGE = Path(__file__).parents[2] / "docs/explanation/task-start.md"
IMPORTS = Path(__file__).parents[2] / "docs/how-to/task-start.md"
DAGS = Path(__file__).with_name("dags")
WORKER = Path(__file__).with_name("worker.py")
RECORD_COUNT = 500
RUNS = 7
BOUND_SECONDS = 0.5
PLACES = ("local", "S3")
FORMS: dict[str, dict[str, str]] = {
    "JSON Lines": {"file_format": "jsonl"},
    "Parquet": {"file_format": "parquet"},
    "normalized Parquet": {"file_format": "parquet", "schema": "normalized"},
}
# Nobody in the fake has this address, so that the window has no records.
NO_RECORDS = {"actor_email": "nobody@example.com"}
PREPARED = ", prepared worker"


class Case(NamedTuple):
    """A kind of pull: where to, whether the window has records, and their form."""

    place: str
    record_count: int
    form: str

    def __str__(self) -> str:
        return f"{self.place}, {self.record_count or 'no'} records, {self.form}"


CASES = (
    *(Case(place, 0, "JSON Lines") for place in PLACES),
    *(Case(place, RECORD_COUNT, form) for place in PLACES for form in FORMS),
)


class Figure(NamedTuple):
    """Median CPU seconds of a task in an environment, and those of the empty task in the same turns.

    The name of the environment ends with ``PREPARED`` if the worker has the imports of docs/how-to/task-start.md.
    """

    environment: str
    task: str
    cpu_seconds: float
    empty_seconds: float

    @property
    def added_seconds(self) -> float:
        """What the task costs above the empty one."""
        return self.cpu_seconds - self.empty_seconds


class _Worker:
    """A worker process in an environment."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self._child = child

    def seconds_of(self, dag_id: str, day_number: int, arguments: dict[str, Any], record_count: int = 0) -> float:
        """Runs a task for a day; returns its CPU seconds. Raises RuntimeError unless it wrote what it should."""
        start = DAY + timedelta(days=day_number)
        interval = [instant(start), instant(start + timedelta(days=1))]
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(json.dumps({"dag_id": dag_id, "interval": interval, "arguments": arguments}) + "\n")
        self._child.stdin.flush()
        line = self._child.stdout.readline()
        answer = json.loads(line) if line else {}
        landed = (answer.get("returned") or {}).get("record_count", 0)
        if answer.get("state") != "success" or landed != record_count:
            raise RuntimeError(f"The task {dag_id} {arguments} ended with {answer}; see the log of the worker.")
        return float(answer["cpu_seconds"])


def main() -> int:
    """Measures and prints the figures, and writes them if asked to."""
    parser = argparse.ArgumentParser(prog="python -m bench.task_start", description=__doc__)
    parser.add_argument("environments", nargs="*", default=list(PACKAGES), help=", ".join(PACKAGES))
    parser.add_argument("--runs", type=int, default=RUNS, help="runs of each task, of which the median counts")
    parser.add_argument("--write", action="store_true", help="write the figures and the page")
    asked = parser.parse_args()
    results = run(asked.environments, asked.runs)
    if asked.write:
        write(results)
    return 0


def run(environments: list[str], runs: int) -> dict[str, Any]:
    """Measures and prints the figures of each environment, and returns them."""
    figures: list[Figure] = []
    for figure in measured(environments, runs):
        figures.append(figure)
        print(
            f"{figure.environment}, {figure.task}: {figure.added_seconds:.2f} s above the empty task's "
            f"{figure.empty_seconds:.2f} s",
            flush=True,
        )
    return {
        "measured_on": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, CPython {platform.python_version()}",
        "runs": runs,
        "figures": [figure._asdict() for figure in figures],
    }


def measured(environments: list[str], runs: int) -> Iterator[Figure]:
    """Yields the figure of each case in each environment."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        source = stack.enter_context(running_fake(RECORD_COUNT, 0))
        server = stack.enter_context(moto(folder))
        server.make_bucket("landing")
        for name in environments:
            with ExitStack() as workers:
                pair = {
                    name + suffix: workers.enter_context(_worker(python_of(name), folder, source, server, has_imports))
                    for suffix, has_imports in (("", False), (PREPARED, True))
                }
                for case in CASES:
                    yield from _figures(case, pair, folder, runs)


def early_imports() -> str:
    """Returns the lines that a user adds to ``airflow_local_settings.py``."""
    (block,) = blocks_of(IMPORTS.name, IMPORTS.read_text())
    return block.code


def _figures(case: Case, workers: dict[str, _Worker], folder: Path, runs: int) -> Iterator[Figure]:
    """Runs a case in turns with the empty task and between the workers; the first turn compiles byte code."""
    arguments = {name: _arguments(case, folder) for name in workers}
    empty: dict[str, list[float]] = {name: [] for name in workers}
    pulls: dict[str, list[float]] = {name: [] for name in workers}
    for turn in range(runs + 1):
        for name, worker in workers.items():
            empty[name].append(worker.seconds_of("empty", turn, {}))
            pulls[name].append(worker.seconds_of("landing", turn, arguments[name], case.record_count))
    for name in workers:
        yield Figure(name, str(case), round(median(pulls[name][1:]), 3), round(median(empty[name][1:]), 3))


def _arguments(case: Case, folder: Path) -> dict[str, Any]:
    """Returns the operator's arguments, with a destination of its own."""
    arguments: dict[str, Any] = {"destination": f"{folder}/{uuid4().hex}", **FORMS[case.form]}
    if case.place == "S3":
        arguments |= {"destination": f"s3://landing/{uuid4().hex}", "destination_conn_id": "aws_default"}
    if not case.record_count:
        arguments["filters"] = NO_RECORDS
    return arguments


@contextmanager
def _worker(python: str, folder: Path, source: Source, server: S3Server, has_imports: bool) -> Iterator[_Worker]:
    """Starts a worker whose connections are the fake and the S3 server, with the imports of the page or without."""
    home = folder / uuid4().hex
    (home / "config").mkdir(parents=True)
    (home / "config" / "airflow_local_settings.py").write_text(early_imports() if has_imports else "")
    extra = {"account_id": source.job.account_id}
    cloudflare = {"conn_type": "cloudflare", "host": source.job.base_url, "password": source.job.token, "extra": extra}
    settings = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "AIRFLOW_CONN_CLOUDFLARE_DEFAULT": json.dumps(cloudflare),
        "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(server.fields()),
    }
    kept = {
        name: value
        for name, value in os.environ.items()
        if name.lower() not in PROXIES and not name.startswith(("AIRFLOW", "PYTHON"))
    }
    with (folder / "worker.log").open("ab") as log:
        child = subprocess.Popen(
            [python, str(WORKER)],
            env={**kept, **settings},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        with child:
            try:
                yield _Worker(child)
            except RuntimeError as error:
                error.add_note((folder / "worker.log").read_text()[-3000:])
                raise
            assert child.stdin is not None
            child.stdin.close()


HEAD = """# Start of a task: CPU above a task that does nothing

<!-- Written by `python -m bench.task_start --write`; change bench/task_start/, not this page. -->

Each row is one pull of a day into a destination that has one committed window, run by Airflow's own task runner in a
process that its supervisor forks. The figure is the CPU time of that process, less that of a DAG with one empty `@task`
in the same worker. The pull and the empty task take turns. Neither the API nor S3 has TLS here. *Bare* is an
installation with the extras `parquet`, `zstd` and `s3`; *full* has the google, azure and openlineage providers and
pandas, too. A *prepared worker* imports the modules of [Start tasks faster](../how-to/task-start.md) before it forks
tasks. Figures are medians of {runs} runs, in seconds. The goal is at most {bound} s. Figures above it: {above} of
{count}.

Measured on {measured_on}: {machine}. The empty task takes {empties}.

| pull | {columns} |
|---|{lines}
"""

# CPU time of the imports within a pull, by a DAG that times each import, medians of nine. Frozen or not: the freeze
# count in the processes of a Celery worker.
TAIL = """
In a worker that is not prepared, a pull of JSON Lines into S3 spends its time on three things:

- about 0.2 s on the libraries of S3: half on the import of the amazon provider, with botocore, boto3 and requests, and
  half on that of s3fs, with aiohttp and aiobotocore;
- 0.07 s on the imports of this provider;
- 0.1 s on the client of S3 and all requests. aiohttp and the client each read the certificates of all authorities,
  which takes 0.02 s each time, even if the endpoint has no TLS.

Without the amazon provider, the imports would take 0.05 s less; botocore would stay, because s3fs needs it. This
provider uses the amazon provider all the same, because otherwise it would have to find roles, profiles, regions and
endpoints of a connection by itself. If it found others than the amazon provider finds, it would act on S3 as another
user.

A pull into Parquet also imports pyarrow, which takes 0.03 s, or 0.07 s if numpy is installed, which pyarrow then
imports. Neither pandas nor another store's file system is imported.

numpy usually starts a thread for linear algebra for each core when it is imported, which takes 0.05 to 0.1 s on two
cores. This provider does no linear algebra. So if a task of the land operator imports numpy, numpy starts none. To
have another number of threads, set `OPENBLAS_NUM_THREADS` in the environment of the workers.

In a prepared worker, a task still has to do three things: import some modules of this provider (0.04 s) and, for
Parquet, pyarrow; create the client; and send the requests.

The worker of this benchmark has called `gc.freeze()`, so Python's garbage collector skips the modules that the worker
has imported. Two of Airflow's executors call it, too: LocalExecutor, since Airflow 3.1.5, before it forks workers; and
CeleryExecutor, since release 3.17.2 of the Celery provider, when a worker starts. The Celery worker calls
`gc.unfreeze()` once it is ready. Processes that it forks later, by autoscaling or in the place of a process that has
ended, are therefore like those without `gc.freeze()`: a full garbage collection may happen while a task starts, whether
this provider is used or not. It takes 0.1 s with the modules that a worker has imported.

Other programs that use the same cores make all figures larger.
"""


def write(results: dict[str, Any]) -> None:
    """Writes the figures and the page."""
    FIGURES.write_text(json.dumps(results, indent=1) + "\n")
    PAGE.write_text(document(json.loads(FIGURES.read_text())))


def document(results: dict[str, Any]) -> str:
    """Returns the page of these results."""
    found = [Figure(**figure) for figure in results["figures"]]
    names = list(dict.fromkeys(figure.environment for figure in found))
    added = {(figure.environment, figure.task): figure.added_seconds for figure in found}
    empties = ", ".join(
        f"{median(each.empty_seconds for each in found if each.environment == name):.2f} s ({name})" for name in names
    )
    head = HEAD.format(
        **results,
        bound=BOUND_SECONDS,
        above=sum(each.added_seconds > BOUND_SECONDS for each in found),
        count=len(found),
        empties=empties,
        columns=" | ".join(names),
        lines="--:|" * len(names),
    )
    tasks = dict.fromkeys(figure.task for figure in found)
    rows = [f"| {task} | " + " | ".join(f"{added[name, task]:.2f}" for name in names) + " |" for task in tasks]
    return head + "\n".join([*rows, ""]) + TAIL


if __name__ == "__main__":
    sys.exit(main())
