"""Waits for backfills, and explains why they do not end.

Invariant: it returns only when every run asked for has succeeded.
"""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from demo.narration import Counter
from harness.airflow_instance import ENDED, AirflowInstance, DagRun
from harness.log_files import last_error, task_log


class BackfillFailedError(Exception):
    """Some runs did not succeed. The text names them and says where to look."""


def wait_for_runs(
    instance: AirflowInstance, dag_ids: tuple[str, ...], wanted_count: int, counter: Counter, *, patience: timedelta
) -> None:
    """Returns when `wanted_count` runs have succeeded; raises BackfillFailedError or ChildDiedError."""
    deadline = time.monotonic() + patience.total_seconds()
    while True:
        instance.children.check()
        runs = [run for dag_id in dag_ids for run in instance.runs(dag_id)]
        counter.show(sum(run.state == "success" for run in runs), describe(runs))
        if sum(run.state in ENDED for run in runs) >= wanted_count and not _unfinished(runs):
            break
        if time.monotonic() > deadline:
            raise BackfillFailedError(
                _report(instance, dag_ids, runs, f"not done after {patience.total_seconds():.0f} s")
            )
        if nothing_moves(runs, list(instance.stuck_tasks(dag_ids))):
            raise BackfillFailedError(_report(instance, dag_ids, runs, "stuck"))
        time.sleep(0.5)
    if any(run.state == "failed" for run in runs):
        raise BackfillFailedError(_report(instance, dag_ids, runs, "failed"))


def describe(runs: Iterable[DagRun]) -> str:
    """Returns the states other than success with their counts, such as `3 running, 10 queued`."""
    tally = Tally(run.state for run in runs if run.state != "success")
    return ", ".join(f"{count} {state}" for state, count in sorted(tally.items(), reverse=True))


def nothing_moves(runs: Iterable[DagRun], stuck: Iterable[Mapping[str, Any]]) -> bool:
    """Whether every unfinished run waits for a retry, whose delay is too long to wait for."""
    waiting = {(task["dag_id"], task["dag_run_id"]) for task in stuck if task["state"] == "up_for_retry"}
    unfinished = {(run.dag_id, run.run_id) for run in _unfinished(runs)}
    return bool(unfinished) and unfinished <= waiting


def _unfinished(runs: Iterable[DagRun]) -> list[DagRun]:
    return [run for run in runs if run.state not in ENDED]


def _report(instance: AirflowInstance, dag_ids: tuple[str, ...], runs: list[DagRun], what: str) -> str:
    bad = [f"  {run.dag_id} {run.day}: {run.state}" for run in runs if run.state != "success"]
    lines = [f"{len(bad)} runs {what}:", *bad[:10], *(["  …"] if len(bad) > 10 else [])]
    for task in list(instance.stuck_tasks(dag_ids))[:1]:
        log = task_log(instance.folders.airflow_home / "logs", task)
        lines += [f"The first failed task logged, in {log}:", last_error(log)]
    logs = instance.folders.logs
    return "\n".join(
        [*lines, f"See {logs / 'scheduler.log'} and the task logs, fix the cause and run `make demo` again."]
    )
