"""Starts a real Airflow for tests: scheduler, DAG processor, triggerer, API server, and a fake Cloudflare.

Invariant: every wait has a deadline, and everything that is started here ends with the `with` block.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from harness import http_json
from harness.airflow_environment import Ports, airflow_environ
from harness.airflow_instance import ENDED, AirflowInstance, CommandFailedError, TooLateError
from harness.child_processes import ChildDiedError, Children, free_ports
from harness.cloudflare_account import CloudflareAccount, start_fake
from harness.log_files import tail, task_log
from tests.live.airflow_home import Home
from tests.live.migrated_database import create_database

# Far more than a quiet machine takes (a task: 3 s); a shared one is slow.
WITHIN_SECONDS = 480.0
FAKE_OPTIONS = ("--records-per-day", "300", "--gzip")
Row = dict[str, Any]
Settings = Callable[[Home, CloudflareAccount], Mapping[str, str]]
Starter = Callable[[AirflowInstance], AirflowInstance]


@dataclass(frozen=True)
class LiveAirflow:
    """A running Airflow: `instance` and `source` are those of the harness; `version` is Airflow's version number."""

    version: str
    home: Home
    instance: AirflowInstance
    account: CloudflareAccount

    def ask(self, path: str, *, method: str = "GET", body: object = None) -> Any:
        """Sends one request to the REST API, below `/api/v2/`; raises NoResponseError."""
        return self.instance.ask(path, method=method, body=body)

    def unpause(self, *dag_ids: str) -> None:
        """Unpauses DAGs as soon as they are parsed."""
        for dag_id in dag_ids:
            self.instance.unpause(dag_id)

    def trigger(self, dag_id: str, *, logical_date: datetime | None = None, **more: object) -> str:
        """Triggers a run manually; `more` is added to the request (conf, partition_key, …). Returns the run id."""
        run_id = f"by_hand_{uuid4().hex[:12]}"
        when = logical_date.isoformat() if logical_date else None
        self._post(f"dags/{dag_id}/dagRuns", {"dag_run_id": run_id, "logical_date": when, **more})
        return run_id

    def backfill(self, dag_id: str, first: datetime, last: datetime, **more: object) -> None:
        """Requests a backfill by REST, both bounds included."""
        body = {"dag_id": dag_id, "from_date": first.isoformat(), "to_date": last.isoformat(), **more}

        def taken() -> bool:
            try:
                return bool(self.ask("backfills", method="POST", body=body))
            except http_json.NoResponseError as error:
                # Where SQLite was locked half-way, a backfill without runs is in the way of the next.
                if " 409 " in str(error):
                    self.cancel_backfills(dag_id)
                raise

        self.instance.wait(taken, WITHIN_SECONDS, f"a backfill of {dag_id} to be taken")

    def reparse(self, dag_id: str) -> None:
        """Requests that the file of a DAG is parsed now, before its turn."""
        file_token = self.ask(f"dags/{dag_id}/details")["file_token"]

        def taken() -> bool:
            try:
                self.ask(f"parseDagFile/{file_token}", method="PUT")
            except http_json.NoResponseError as error:
                # 409: it is asked for already and not parsed yet.
                return " 409 " in str(error)
            return True

        self.instance.wait(taken, WITHIN_SECONDS, f"the file of {dag_id} to be parsed")

    def emit(self, asset_uri: str, **more: object) -> None:
        """Creates an asset event; `more` is added to the request (extra, partition_key)."""
        (asset,) = (each for each in self.ask("assets?limit=200")["assets"] if each["uri"] == asset_uri)
        self._post("assets/events", {"asset_id": asset["id"], **more})

    def clear(self, dag_id: str, run_id: str) -> None:
        """Clears a finished run, so that the scheduler runs it again."""
        self._post(f"dags/{dag_id}/dagRuns/{quote(run_id)}/clear", {"dry_run": False})

    def runs(self, dag_id: str) -> list[Row]:
        """Returns every run of a DAG as the API reports it, in the order of their start."""
        runs: list[Row] = self.ask(f"dags/{dag_id}/dagRuns?limit=100&order_by=run_after")["dag_runs"]
        return runs

    def await_runs(self, dag_id: str, count: int = 1, within_seconds: float = WITHIN_SECONDS) -> list[Row]:
        """Returns a DAG's runs when there are so many and all have ended in any state; raises TooLateError."""
        seen: list[Row] = []

        def ended() -> bool:
            seen[:] = self.runs(dag_id)
            return len(seen) >= count and all(run["state"] in ENDED for run in seen)

        try:
            self.instance.wait(ended, within_seconds, f"{count} runs of {dag_id} to end")
        except TooLateError as error:
            error.add_note(f"seen: {[(run['dag_run_id'], run['state']) for run in seen]}")
            raise
        return seen

    def await_run(self, dag_id: str, run_id: str, within_seconds: float = WITHIN_SECONDS) -> str:
        """Returns the state in which a run ended; raises TooLateError."""
        path = f"dags/{dag_id}/dagRuns/{quote(run_id)}"
        self.instance.wait(
            lambda: self.ask(path)["state"] in ENDED, within_seconds, f"{run_id} of {dag_id} in {self.home.root} to end"
        )
        return str(self.ask(path)["state"])

    def tasks(self, dag_id: str, run_id: str) -> list[Row]:
        """Returns the task instances of a run as the API reports them."""
        path = f"dags/{dag_id}/dagRuns/{quote(run_id)}/taskInstances?limit=100"
        tasks: list[Row] = self.ask(path)["task_instances"]
        return tasks

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        """Returns the value that a task pushed."""
        path = f"dags/{dag_id}/dagRuns/{quote(run_id)}/taskInstances/{task_id}/xcomEntries/{key}?stringify=false"
        value = self.ask(path)["value"]
        # Before 3.1 the API gives the text that is in the database.
        return json.loads(value) if isinstance(value, str) and value[:1] in "{[" else value

    def events(self, asset_uri: str) -> list[Row]:
        """Returns the events of an asset, oldest first."""
        found: list[Row] = []

        def answered() -> bool:
            found[:] = self.ask("assets/events?limit=200&order_by=timestamp")["asset_events"]
            return True

        # Airflow has no answer, but a 500, while a run that an event created has not begun.
        self.instance.wait(answered, WITHIN_SECONDS, "the asset events")
        return [event for event in found if event["uri"] == asset_uri]

    def log(self, task: Mapping[str, Any]) -> str:
        """Returns the log of the last attempt of a task instance; empty if there is no log file."""
        return self.logs(task)[-1]

    def logs(self, task: Mapping[str, Any]) -> list[str]:
        """Returns the logs of all attempts of a task instance, the first attempt's first."""
        tries = range(1, (task["try_number"] or 1) + 1)
        paths = [task_log(self.home.airflow_home / "logs", {**task, "try_number": number}) for number in tries]
        return [path.read_text() if path.is_file() else "" for path in paths]

    def truth_ids(self, start: datetime, end: datetime) -> list[str]:
        """Returns the ids of every record that the fake has in `[start, end)`, in its order."""
        return [json.loads(line)["id"] for line in self.account.truth(start, end)]

    def kill(self, name: str) -> None:
        """Kills a component and all its child processes, as a failed machine would; `instance.start` restarts it."""
        self.instance.children.kill(name)

    def cancel_backfills(self, dag_id: str) -> None:
        """Cancels each backfill of a DAG that has not ended."""
        for backfill in self.ask(f"backfills?dag_id={dag_id}")["backfills"]:
            if backfill["completed_at"] is None:
                self.ask(f"backfills/{backfill['id']}/cancel", method="PUT")

    def _post(self, path: str, body: Mapping[str, object]) -> None:
        """Sends a request until it is accepted: SQLite has one writer, and a second one gets an error."""

        def taken() -> bool:
            try:
                self.ask(path, method="POST", body=body)
            except http_json.NoResponseError as error:
                # 409: an answer was lost on its way, or came too late, and this one says that it was done.
                if " 409 " not in str(error):
                    raise
            return True

        self.instance.wait(taken, WITHIN_SECONDS, f"POST {path} to be taken")


def start_components(instance: AirflowInstance) -> AirflowInstance:
    """Starts all components; returns the instance with the address of their second API server.

    Two API servers, as in large installations: in one, a request that writes the audit trail in the event loop waits
    for SQLite's lock, and the one that holds the lock waits for the event loop, a minute long.
    """
    (port,) = free_ports(1)
    address = {"AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/"}
    instance = replace(instance, environ={**instance.environ, **address})
    instance.start("api-server", "api-server", "--apps", "core")
    instance.start("execution-api", "api-server", "--apps", "execution", "--port", str(port))
    instance.start_workers()
    return instance


@contextmanager
def start_airflow(
    home: Home,
    version: str,
    *,
    dags: Iterable[Path],
    fake_options: Sequence[str],
    settings: Settings,
    start: Starter = start_components,
) -> Iterator[LiveAirflow]:
    """Starts everything and waits until it is healthy; `settings` are additional environment variables."""
    for folder in (home.dags, home.logs, home.landed):
        folder.mkdir(parents=True)
    for path in dags:
        shutil.copy(path, home.dags)
    with Children(home.logs) as children:
        try:
            account = start_fake(children, home, os.environ, fake_options)
            instance = _configured(home, children, account, settings)
            create_database(instance, version)
            instance = start(instance)
            instance.wait_until_healthy()
        except (TooLateError, CommandFailedError, ChildDiedError) as error:
            error.add_note("\n".join(f"{log.name}:\n{tail(log, 30)}" for log in sorted(home.logs.glob("*.log"))))
            raise
        yield LiveAirflow(version, home, instance, account)


def _configured(home: Home, children: Children, account: CloudflareAccount, settings: Settings) -> AirflowInstance:
    """Returns an Airflow without a database, whose components are not started yet."""
    ports = Ports(*free_ports(3))
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    environ = airflow_environ(os.environ, home, ports, account.connection(), tomorrow.isoformat())
    more = settings(home, account)
    return AirflowInstance(home, children, {**environ, **more}, f"http://127.0.0.1:{ports.api}")
