"""Starts runs in each possible way: scheduler, backfill, manually, asset event, `dag.test()`.

Invariant: a start returns at once; the run is awaited afterwards, so that all runs are in progress together.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from tests.live.live_airflow import WITHIN_SECONDS, LiveAirflow, Row

DAG_FILE = "window_table.py"
Find = Callable[[], tuple[str, list[str]]]
Start = Callable[[LiveAirflow, str], Find]


def _awaited(live: LiveAirflow, dag_id: str, **wanted: object) -> Find:
    """Waits until the only run with these fields has ended; returns its id and the log of each attempt of its task."""

    def find() -> tuple[str, list[str]]:
        found: list[Row] = []

        def there() -> bool:
            found[:] = [run for run in live.runs(dag_id) if wanted.items() <= run.items()]
            return bool(found)

        live.instance.wait(there, WITHIN_SECONDS, f"a run of {dag_id} with {wanted}")
        (run,) = found
        run_id = str(run["dag_run_id"])
        live.await_run(dag_id, run_id)
        (task,) = live.tasks(dag_id, run_id)
        return run_id, live.logs(task)

    return find


def scheduled() -> Start:
    """Returns a start that leaves the run to the scheduler."""

    def start(live: LiveAirflow, dag_id: str) -> Find:
        live.unpause(dag_id)
        return _awaited(live, dag_id, run_type="scheduled")

    return start


def backfill(day: datetime) -> Start:
    """Requests a backfill of one day."""

    def start(live: LiveAirflow, dag_id: str) -> Find:
        live.unpause(dag_id)
        live.backfill(dag_id, day, day)
        return _awaited(live, dag_id, run_type="backfill")

    return start


def by_hand(logical_date: datetime | None = None, **more: object) -> Start:
    """Triggers a run."""

    def start(live: LiveAirflow, dag_id: str) -> Find:
        live.unpause(dag_id)
        return _awaited(live, dag_id, dag_run_id=live.trigger(dag_id, logical_date=logical_date, **more))

    return start


def event(**more: object) -> Start:
    """Creates an event of the asset that the DAG is scheduled by."""

    def start(live: LiveAirflow, dag_id: str) -> Find:
        live.unpause(dag_id)
        live.emit(f"x-test://window/{dag_id}", **more)
        reported = {"partition_key": more["partition_key"]} if "partition_key" in more else {}
        return _awaited(live, dag_id, run_type="asset_triggered", **reported)

    return start


def dag_tests(live: LiveAirflow, asked: Sequence[tuple[str, str | None]]) -> list[tuple[str, list[str]]]:
    """Calls `dag.test()` for each DAG and logical date; returns the runs' ids and their output."""
    script, file = Path(__file__).with_name("dag_tests.py"), live.home.dags / DAG_FILE
    answer = subprocess.run(
        [live.home.python, script, file, json.dumps(asked)],
        env=dict(live.instance.environ),
        cwd=live.home.airflow_home,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # One run after the other: each may take as long as a single wait of the other tests.
        timeout=WITHIN_SECONDS * max(1, len(asked)),
        check=False,
    )
    assert answer.returncode == 0, answer.stdout[-8000:]
    parts = answer.stdout.split('{"asked": ')[1:]
    return [(json.loads(_line(part, '{"run_id"'))["run_id"], [part]) for part in parts]


def _line(text: str, beginning: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(beginning))
