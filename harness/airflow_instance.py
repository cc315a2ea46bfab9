"""Runs one Airflow: creates its database, starts its components, and uses its command line and REST API.

Invariant: every wait has a deadline, and ends early when a component ends.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any
from urllib.parse import quote

from harness import http_json
from harness.airflow_folders import AirflowFolders
from harness.child_processes import Child, Children
from harness.machine import Machine

WORKERS = ("scheduler", "dag-processor", "triggerer")
# The states in which a DAG run has ended.
ENDED = frozenset({"success", "failed"})
# How long a wait may take. A quiet machine needs 20 s for either; a busy one has to get there as well.
HEALTHY_WITHIN_SECONDS = 600.0
COMMAND_WITHIN_SECONDS = 600.0


class TooLateError(Exception):
    """The deadline of a wait has passed. The text states what was waited for."""


class CommandFailedError(Exception):
    """An `airflow` command failed. `child` has its log file."""

    def __init__(self, child: Child) -> None:
        super().__init__(f"`airflow {child.name}` ended with code {child.popen.returncode}")
        self.child = child


@dataclass(frozen=True)
class DagRun:
    """One DAG run; `state` is Airflow's name of its state, `day` the UTC date of its logical date."""

    dag_id: str
    run_id: str
    day: str
    state: str


@dataclass(frozen=True)
class AirflowInstance:
    """An Airflow in these folders, whose components are started as `children`."""

    folders: AirflowFolders
    children: Children
    environ: Mapping[str, str]
    base_url: str

    def migrate(self) -> None:
        """Creates an empty AIRFLOW_HOME and the database; raises CommandFailedError."""
        shutil.rmtree(self.folders.airflow_home, ignore_errors=True)
        self.folders.airflow_home.mkdir(parents=True)
        self.command("db-migrate", "db", "migrate")

    def start_api(self) -> None:
        """Starts the API server, which writes nothing by itself."""
        self.start("api-server", "api-server")

    def start_workers(self) -> None:
        """Starts scheduler, DAG processor and triggerer."""
        for name in WORKERS:
            self.start(name, name)

    def parse(self) -> None:
        """Parses the DAG files once into the database; raises CommandFailedError."""
        self.command("dags-reserialize", "dags", "reserialize")

    def wait_until_healthy(self) -> None:
        """Returns once every component reports a heartbeat; raises TooLateError or ChildDiedError."""
        self.wait(self._is_healthy, HEALTHY_WITHIN_SECONDS, "all four components to be healthy")

    def unpause(self, dag_id: str) -> None:
        """Unpauses a DAG as soon as it has been parsed; raises TooLateError."""
        self.wait(lambda: self._unpaused(dag_id), HEALTHY_WITHIN_SECONDS, f"the DAG {dag_id} to be parsed")

    def backfill(self, dag_id: str, first: date, last: date, max_active_runs: int = 4) -> None:
        """Creates a backfill by Airflow's command line, both days included; raises CommandFailedError.

        Call it before the scheduler runs: SQLite allows one writer, and this command fails instead of waiting.
        """
        bounds = ("--from-date", first.isoformat(), "--to-date", last.isoformat())
        at_once = ("--max-active-runs", str(max_active_runs))
        self.command(f"backfill-{dag_id}", "backfill", "create", "--dag-id", dag_id, *bounds, *at_once)

    def request_backfill(self, dag_id: str, first: date, last: date, max_active_runs: int = 4) -> None:
        """Creates a backfill by the REST API, both days included; raises NoResponseError.

        Takes less than a second; Airflow's command line needs several to start.
        """
        bounds = {"from_date": f"{first.isoformat()}T00:00:00Z", "to_date": f"{last.isoformat()}T00:00:00Z"}
        self.ask("backfills", method="POST", body={"dag_id": dag_id, "max_active_runs": max_active_runs, **bounds})

    def delete(self, run: DagRun) -> None:
        """Deletes a run that has not started; raises NoResponseError."""
        url = f"{self.base_url}/api/v2/dags/{run.dag_id}/dagRuns/{quote(run.run_id)}"
        http_json.fetch(url, method="DELETE", headers=self._credential)

    def trigger(self, dag_id: str, run_id: str, conf: Mapping[str, object]) -> None:
        """Triggers a run without a logical date; raises TooLateError."""
        body = {"dag_run_id": run_id, "logical_date": None, "conf": conf}

        def accepted() -> bool:
            try:
                return bool(self.ask(f"dags/{dag_id}/dagRuns", method="POST", body=body))
            except http_json.NoResponseError as error:
                # 409: the response to an earlier request was lost, and this one states that the run exists.
                if " 409 " in str(error):
                    return True
                raise

        self.wait(accepted, 30.0, f"a run of {dag_id} to be created")

    def command(self, name: str, *words: str) -> None:
        """Runs one `airflow` command to its end; raises CommandFailedError or TooLateError."""
        child = self.start(name, *words)
        try:
            child.popen.wait(COMMAND_WITHIN_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise TooLateError(f"`airflow {' '.join(words)}` did not end in {COMMAND_WITHIN_SECONDS:.0f} s") from error
        self.children.started.remove(child)
        if child.popen.returncode != 0:
            raise CommandFailedError(child)

    def clear(self, run: DagRun) -> None:
        """Clears a finished run, so that the scheduler runs it again; raises TooLateError."""
        path = f"dags/{run.dag_id}/dagRuns/{quote(run.run_id)}/clear"
        again = {"dry_run": False}
        self.wait(lambda: bool(self.ask(path, method="POST", body=again)), 30.0, f"{run.run_id} to be cleared")

    def runs(self, dag_id: str) -> list[DagRun]:
        """Returns every run of a DAG, oldest day first; raises NoResponseError."""
        rows = self.ask(f"dags/{dag_id}/dagRuns?limit=100&order_by=logical_date")["dag_runs"]
        return [DagRun(dag_id, row["dag_run_id"], str(row["logical_date"])[:10], row["state"]) for row in rows]

    def stuck_tasks(self, dag_ids: tuple[str, ...]) -> Iterator[dict[str, Any]]:
        """Yields the task instances that failed or wait for a retry; raises NoResponseError."""
        for dag_id in dag_ids:
            states = "state=failed&state=up_for_retry&state=upstream_failed"
            path = f"dags/{dag_id}/dagRuns/{quote('~')}/taskInstances?limit=100&{states}"
            yield from self.ask(path)["task_instances"]

    def ask(self, path: str, *, method: str = "GET", body: object = None) -> Any:
        """Sends a request to the REST API, below `/api/v2/`; returns the decoded response, raises NoResponseError."""
        url = f"{self.base_url}/api/v2/{path}"
        return http_json.fetch_json(url, method=method, body=body, headers=self._credential)

    @cached_property
    def _credential(self) -> dict[str, str]:
        """The header of every request. Airflow 3.1 asks for a token although every user is an administrator."""
        return {"Authorization": f"Bearer {http_json.fetch_json(f'{self.base_url}/auth/token')['access_token']}"}

    def start(self, name: str, *words: str) -> Child:
        """Starts `airflow <words>`. Every wait fails once it ends."""
        command = [str(self.folders.python), "-m", "airflow", *words]
        return self.children.start(name, command, self.environ, cwd=self.folders.airflow_home)

    def start_on(self, machine: Machine, *words: str) -> Child:
        """Starts `airflow <words>` on another machine of the cluster. Every wait fails once it ends."""
        command = [str(self.folders.python), "-m", "airflow", *words]
        return self.children.start(machine.name, command, machine.environ(self.environ), cwd=machine.working_folder)

    def wait(self, ready: Callable[[], bool], within_seconds: float, what: str) -> None:
        """Returns once `ready` returns true; it is called again if it raises NoResponseError. Raises TooLateError."""
        deadline, reason = time.monotonic() + within_seconds, ""
        while time.monotonic() < deadline:
            self.children.check()
            try:
                if ready():
                    return
            except http_json.NoResponseError as error:
                reason = f" ({error})"
            time.sleep(0.4)
        raise TooLateError(f"Waited {within_seconds:.0f} s for {what}{reason}")

    def _is_healthy(self) -> bool:
        health = self.ask("monitor/health")
        parts = (health.get(name) or {} for name in ("scheduler", "dag_processor", "triggerer"))
        return all(part.get("status") == "healthy" for part in parts)

    def _unpaused(self, dag_id: str) -> bool:
        dag = self.ask(f"dags/{dag_id}", method="PATCH", body={"is_paused": False})
        return dag.get("is_paused") is False
