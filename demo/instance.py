"""One fresh Airflow: its database, its four components, its DAGs and their runs.

Knows: Airflow's command line and REST API.
Must not know: what the DAGs land, or whether it is right.
Its one rule: every wait has a deadline, and ends early when a component dies.
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

from demo import rest
from demo.children import Child, Children
from demo.layout import Layout

WORKERS = ("scheduler", "dag-processor", "triggerer")
HEALTHY_WITHIN_SECONDS = 600.0
COMMAND_WITHIN_SECONDS = 600.0


class TooLateError(Exception):
    """A wait's deadline has passed; the text says what was waited for."""


class CommandFailedError(Exception):
    """An `airflow` command ended with an error; carries its child, and so its log."""

    def __init__(self, child: Child) -> None:
        super().__init__(f"`airflow {child.name}` ended with code {child.popen.returncode}")
        self.child = child


@dataclass(frozen=True)
class Run:
    """One DAG run as the scheduler sees it; state is Airflow's word."""

    dag_id: str
    run_id: str
    day: str
    state: str


@dataclass(frozen=True)
class Instance:
    """An Airflow in `.demo/airflow` whose children belong to `children`."""

    layout: Layout
    children: Children
    environ: Mapping[str, str]
    base_url: str

    def migrate(self) -> None:
        """Make an empty home and the database in it; raises CommandFailedError."""
        shutil.rmtree(self.layout.airflow_home, ignore_errors=True)
        self.layout.airflow_home.mkdir(parents=True)
        self.command("db-migrate", "db", "migrate")

    def start_api(self) -> None:
        """Start the API server, which writes nothing by itself."""
        self.start("api-server", "api-server")

    def start_workers(self) -> None:
        """Start scheduler, DAG processor and triggerer."""
        for name in WORKERS:
            self.start(name, name)

    def parse(self) -> None:
        """Write the DAGs of the dags folder into the database once; raises CommandFailedError."""
        self.command("dags-reserialize", "dags", "reserialize")

    def wait_until_healthy(self) -> None:
        """Return once every component reports a heartbeat; raises TooLateError or ChildDiedError."""
        self.wait(self._is_healthy, HEALTHY_WITHIN_SECONDS, "all four components to be healthy")

    def unpause(self, dag_id: str) -> None:
        """Unpause a DAG as soon as it has been parsed; raises TooLateError, naming the DAG."""
        self.wait(lambda: self._unpaused(dag_id), HEALTHY_WITHIN_SECONDS, f"the DAG {dag_id} to be parsed")

    def backfill(self, dag_id: str, first: date, last: date, max_active_runs: int = 4) -> None:
        """Ask for a backfill by the real command line, both days included; raises CommandFailedError.

        Ask before the scheduler runs: SQLite has one writer, and this command does not wait for its turn.
        """
        bounds = ("--from-date", first.isoformat(), "--to-date", last.isoformat())
        at_once = ("--max-active-runs", str(max_active_runs))
        self.command(f"backfill-{dag_id}", "backfill", "create", "--dag-id", dag_id, *bounds, *at_once)

    def command(self, name: str, *words: str) -> None:
        """Run one `airflow` command to its end; raises CommandFailedError or TooLateError."""
        child = self.start(name, *words)
        try:
            child.popen.wait(COMMAND_WITHIN_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise TooLateError(f"`airflow {' '.join(words)}` did not end in {COMMAND_WITHIN_SECONDS:.0f} s") from error
        self.children.started.remove(child)
        if child.popen.returncode != 0:
            raise CommandFailedError(child)

    def clear(self, run: Run) -> None:
        """Have the scheduler run a finished run again; raises TooLateError."""
        path = f"dags/{run.dag_id}/dagRuns/{quote(run.run_id)}/clear"
        again = {"dry_run": False}
        self.wait(lambda: bool(self.ask(path, method="POST", body=again)), 30.0, f"{run.run_id} to be cleared")

    def runs(self, dag_id: str) -> list[Run]:
        """Every run of a DAG, oldest day first; raises NoAnswerError."""
        rows = self.ask(f"dags/{dag_id}/dagRuns?limit=100&order_by=logical_date")["dag_runs"]
        return [Run(dag_id, row["dag_run_id"], str(row["logical_date"])[:10], row["state"]) for row in rows]

    def stuck_tasks(self, dag_ids: tuple[str, ...]) -> Iterator[dict[str, Any]]:
        """The task instances that failed or wait for another try; raises NoAnswerError."""
        for dag_id in dag_ids:
            states = "state=failed&state=up_for_retry&state=upstream_failed"
            path = f"dags/{dag_id}/dagRuns/{quote('~')}/taskInstances?limit=100&{states}"
            yield from self.ask(path)["task_instances"]

    def ask(self, path: str, *, method: str = "GET", body: object = None) -> Any:
        """Send one request to the REST API, below `/api/v2/`, as the administrator; raises NoAnswerError."""
        return rest.fetch_json(f"{self.base_url}/api/v2/{path}", method=method, body=body, headers=self._credential)

    @cached_property
    def _credential(self) -> dict[str, str]:
        """A token for everybody; Airflow 3.1 wants one although everybody is an administrator."""
        return {"Authorization": f"Bearer {rest.fetch_json(f'{self.base_url}/auth/token')['access_token']}"}

    def start(self, name: str, *words: str) -> Child:
        """Start `airflow <words>`, and have its end noticed by every wait."""
        command = [str(self.layout.python), "-m", "airflow", *words]
        return self.children.start(name, command, self.environ, cwd=self.layout.airflow_home)

    def wait(self, ready: Callable[[], bool], within_seconds: float, what: str) -> None:
        """Return once `ready` says so; an unanswered question is asked again. Raises TooLateError, ChildDiedError."""
        deadline, reason = time.monotonic() + within_seconds, ""
        while time.monotonic() < deadline:
            self.children.check()
            try:
                if ready():
                    return
            except rest.NoAnswerError as error:
                reason = f" ({error})"
            time.sleep(0.4)
        raise TooLateError(f"Waited {within_seconds:.0f} s for {what}{reason}")

    def _is_healthy(self) -> bool:
        health = self.ask("monitor/health")
        parts = (health.get(name) or {} for name in ("scheduler", "dag_processor", "triggerer"))
        return all(part.get("status") == "healthy" for part in parts)

    def _unpaused(self, dag_id: str) -> bool:
        answer = self.ask(f"dags/{dag_id}", method="PATCH", body={"is_paused": False})
        return answer.get("is_paused") is False
