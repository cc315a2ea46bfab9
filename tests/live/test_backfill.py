"""A month is backfilled on PostgreSQL, ten runs at a time; killing the triggerer and a worker loses no record."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import store_from_uri
from airflow_audit_provider.pipelines.verify import verify
from harness.cloudflare_account import CloudflareAccount
from harness.landed import landed_windows, part_lines
from tests.live.airflow_home import Home
from tests.live.calendar_days import days_ago
from tests.live.live_airflow import LiveAirflow, Row, start_airflow
from tests.live.postgres import running_postgres

DAG_ID, DAG_FILE = "thirty_days", Path(__file__).parent / "single_dags" / "thirty_days.py"
FIRST, LAST, DAY_COUNT = days_ago(31), days_ago(2), 30
# Slow enough that a worker can be caught between its first and its last request.
FAKE_OPTIONS = ("--records-per-day", "2500", "--even-days", "--latency-ms", "500", "--gzip")
SETTLED_IN, WAITING_COUNT, PATIENCE_SECONDS = timedelta(seconds=40), 3, 900.0


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveAirflow]:
    """Airflow 3.3.2 on PostgreSQL with four workers; it notices a dead process within half a minute."""
    home = Home(tmp_path_factory.mktemp("thirty-days") / "home", Path(sys.prefix))
    with running_postgres() as database:

        def settings(home: Home, _account: CloudflareAccount) -> dict[str, str]:
            return {
                "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
                "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
                "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
                "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
                "AUDIT_LANDED": home.landed.as_uri(),
                "AUDIT_SETTLED_AT_FILE": str(home.root / "settled-at"),
            }

        with start_airflow(home, "3.3.2", dags=[DAG_FILE], fake_options=FAKE_OPTIONS, settings=settings) as live:
            yield live


# Thirty tasks take 140 s of CPU; tests/pipelines/pull/test_sigkill.py and the demo's backfill run before each merge.
@pytest.mark.nightly
def test_thirty_days_survive_the_death_of_triggerer_and_worker(airflow: LiveAirflow) -> None:
    """Thirty windows are verified and have exactly the source's ids, although both processes are killed."""
    live = airflow
    live.instance.wait(lambda: bool(live.ask(f"dags/{DAG_ID}")), PATIENCE_SECONDS, f"{DAG_ID} to be parsed")
    live.instance.backfill(DAG_ID, FIRST.date(), LAST.date(), max_active_runs=10)
    # Runs of a paused DAG stay queued, so that the first begins when the file is there.
    put_off_settling(live)
    live.unpause(DAG_ID)
    waiting = kill_triggerer_while_days_wait(live)
    victim = kill_worker_while_it_lands(live)
    runs = live.await_runs(DAG_ID, DAY_COUNT, PATIENCE_SECONDS)
    assert [run["state"] for run in runs] == ["success"] * DAY_COUNT
    assert {run["run_type"] for run in runs} == {"backfill"}
    (task,) = live.tasks(DAG_ID, victim["dag_run_id"])
    assert task["try_number"] > victim["try_number"], "the killed worker's task was not tried again"
    assert "Committed" not in live.logs(task)[victim["try_number"] - 1]
    assert waiting <= {run["dag_run_id"] for run in runs}
    everything_is_there(live)


def everything_is_there(live: LiveAirflow) -> None:
    """Compares the landed records with the account: by the provider's own verify, and by reading the files."""
    destination = live.home.landed / DAG_ID
    report = verify(store_from_uri(destination.as_uri()))
    assert (report.summary()["window_count"], list(report.findings)) == (DAY_COUNT, [])
    windows = landed_windows(destination)
    days = [FIRST + timedelta(days=count) for count in range(DAY_COUNT)]
    assert [datetime.fromisoformat(window.start) for window in windows] == days
    for day, window in zip(days, windows, strict=True):
        ids = [json.loads(line)["id"] for part in window.parts for line in part_lines(part)]
        assert ids == live.truth_ids(day, day + timedelta(days=1)), window.day
        assert ids, "the fake has no record that day"


def kill_triggerer_while_days_wait(live: LiveAirflow) -> set[str]:
    """Kills the triggerer while several days wait in it, starts another, returns the runs that waited."""
    deferred: list[Row] = []

    def enough_wait() -> bool:
        deferred[:] = tasks_in(live, "deferred")
        # On a slow machine the first would be settled before the third has begun to wait.
        return len(deferred) >= WAITING_COUNT or put_off_settling(live)

    live.instance.wait(enough_wait, PATIENCE_SECONDS, f"{WAITING_COUNT} days to wait in the triggerer")
    live.kill("triggerer")
    live.instance.start("second-triggerer", "triggerer")
    return {task["dag_run_id"] for task in deferred}


def put_off_settling(live: LiveAirflow) -> bool:
    """Delays the settling of days whose runs start now; always returns False."""
    fresh = live.home.root / "settled-at.new"
    fresh.write_text((datetime.now(UTC) + SETTLED_IN).isoformat())
    fresh.replace(live.home.root / "settled-at")
    return False


def kill_worker_while_it_lands(live: LiveAirflow) -> Row:
    """Kills a worker and its task between a window's first records and its commit; returns the task."""
    victims: list[Row] = []

    def killed() -> bool:
        for task in tasks_in(live, "running"):
            if is_landing(live, task) and kill_worker_of(task):
                victims.append(task)
                return True
        return False

    live.instance.wait(killed, PATIENCE_SECONDS, "a worker to be caught while it lands a window")
    return victims[0]


def is_landing(live: LiveAirflow, task: Row) -> bool:
    """Returns whether a task has read records of its window and has not committed them."""
    since_start = live.log(task).rpartition("taken from")[2]
    return "Fetched" in since_start and "Committed" not in since_start


def kill_worker_of(task: Row) -> bool:
    """Kills the worker that runs a task instance, and the task; returns whether there were any."""
    found = [pid for pid in all_pids() if title(pid) == f"airflow worker -- LocalExecutor: {task['id']}"]
    for pid in found:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return bool(found)


def all_pids() -> list[int]:
    """Returns the ids of all running processes."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def title(pid: int) -> str:
    """Returns the command line of a process; empty if it has ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode(errors="replace").replace("\0", " ")
    return ""


def tasks_in(live: LiveAirflow, state: str) -> list[Row]:
    """Returns the task instances in a state."""
    found: list[Row] = live.ask(f"dags/{DAG_ID}/dagRuns/~/taskInstances?limit=100&state={state}")["task_instances"]
    return found
