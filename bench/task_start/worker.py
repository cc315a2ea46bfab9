"""Worker that runs tasks as an executor does: Airflow's supervisor forks a task runner for each.

Runs in the environment that is measured, which has no other module of the benchmark. Reads a line of JSON for each task
and writes one with the CPU seconds of the forked process. The execution API is answered here, so that no scheduler and
no database is needed; connections come from the environment.

Invariant: the CPU time is that of the ended child process, by the kernel's counters.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
from typing import Any
from uuid import uuid4

import httpx
from airflow.executors import local_executor  # noqa: F401 - a worker has it before it forks the process of a task
from airflow.executors.workloads.base import BundleInfo
from airflow.sdk.api.client import Client
from airflow.sdk.api.datamodels._generated import TaskInstance
from airflow.sdk.execution_time.supervisor import supervise_task


class _ExecutionApi:
    """Answers the requests of one task as Airflow's API server does for a run of this data interval."""

    def __init__(self, dag_id: str, interval: list[str]) -> None:
        self.final_state: str | None = None
        self.returned: Any = None
        start, end = interval
        self._dag_run: dict[str, Any] = {
            "dag_id": dag_id,
            "run_id": "run",
            "logical_date": start,
            "data_interval_start": start,
            "data_interval_end": end,
            "run_after": end,
            "start_date": end,
            "end_date": None,
            "run_type": "scheduled",
            "state": "running",
            "consumed_asset_events": [],
            "partition_key": None,
        }

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Returns the answer to one request."""
        path = request.url.path
        if path.endswith("/run"):
            return httpx.Response(200, json={"dag_run": self._dag_run, "max_tries": 0, "should_retry": False})
        if path.endswith("/state"):
            self.final_state = json.loads(request.content)["state"]
            return httpx.Response(204)
        if path.endswith("/return_value"):
            self.returned = json.loads(request.content)
            return httpx.Response(201, json={"message": "set"})
        return httpx.Response(200, json={"ok": True})


def run(dag_id: str, interval: list[str]) -> dict[str, Any]:
    """Runs the task of a DAG; returns its CPU seconds and what it returned."""
    api = _ExecutionApi(dag_id, interval)
    instance = TaskInstance(
        id=uuid4(), task_id="task", dag_id=dag_id, run_id="run", try_number=1, dag_version_id=uuid4(), queue="default"
    )
    before = _seconds_of_children()
    code = supervise_task(
        ti=instance,
        bundle_info=BundleInfo(name="dags-folder"),
        dag_rel_path=f"{dag_id}.py",
        subprocess_logs_to_stdout=True,
        token="",
        client=Client(base_url=None, dry_run=True, token="", transport=httpx.MockTransport(api)),
    )
    seconds = _seconds_of_children() - before
    return {"cpu_seconds": seconds, "exit_code": code, "state": api.final_state, "returned": api.returned}


def _seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Runs the tasks that standard input names, one a line, until it ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    # LocalExecutor does this before it forks a worker. Otherwise a full collection of 0.14 s falls into some tasks.
    gc.freeze()
    for line in sys.stdin:
        asked = json.loads(line)
        os.environ["TASK_START_ARGUMENTS"] = json.dumps(asked["arguments"])
        print(json.dumps(run(asked["dag_id"], asked["interval"])), file=answers, flush=True)


if __name__ == "__main__":
    main()
