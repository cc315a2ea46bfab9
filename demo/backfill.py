"""Waiting for backfills: how far they are, and why they got stuck.

Knows: the states of runs and tasks, and when waiting makes no more sense.
Must not know: what the runs land.
Its one rule: it returns only when every run asked for has succeeded; anything else is an error with names in it.
"""

from __future__ import annotations

import json
import time
from collections import Counter as Tally
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from demo.installation import tail
from demo.instance import Instance, Run
from demo.narration import Counter

ENDED = frozenset({"success", "failed"})


class BackfillFailedError(Exception):
    """Some runs did not succeed; the text names them and ends in what to look at."""


def wait_for_runs(
    instance: Instance, dag_ids: tuple[str, ...], wanted_count: int, counter: Counter, *, patience: timedelta
) -> None:
    """Return when `wanted_count` runs have succeeded; raises BackfillFailedError or ChildDiedError."""
    deadline = time.monotonic() + patience.total_seconds()
    while True:
        instance.children.check()
        runs = [run for dag_id in dag_ids for run in instance.runs(dag_id)]
        counter.tell(sum(run.state == "success" for run in runs), describe(runs))
        if sum(run.state in ENDED for run in runs) >= wanted_count and not _unfinished(runs):
            break
        if time.monotonic() > deadline:
            raise BackfillFailedError(
                _story(instance, dag_ids, runs, f"not done after {patience.total_seconds():.0f} s")
            )
        if nothing_moves(runs, list(instance.stuck_tasks(dag_ids))):
            raise BackfillFailedError(_story(instance, dag_ids, runs, "stuck"))
        time.sleep(0.5)
    if any(run.state == "failed" for run in runs):
        raise BackfillFailedError(_story(instance, dag_ids, runs, "failed"))


def describe(runs: Iterable[Run]) -> str:
    """The states that are not success, with counts, such as `3 running, 10 queued`."""
    tally = Tally(run.state for run in runs if run.state != "success")
    return ", ".join(f"{count} {state}" for state, count in sorted(tally.items(), reverse=True))


def nothing_moves(runs: Iterable[Run], stuck: Iterable[Mapping[str, Any]]) -> bool:
    """Whether every unfinished run only waits for a retry; its delay is longer than anyone would watch."""
    waiting = {(task["dag_id"], task["dag_run_id"]) for task in stuck if task["state"] == "up_for_retry"}
    unfinished = {(run.dag_id, run.run_id) for run in _unfinished(runs)}
    return bool(unfinished) and unfinished <= waiting


def _unfinished(runs: Iterable[Run]) -> list[Run]:
    return [run for run in runs if run.state not in ENDED]


def _story(instance: Instance, dag_ids: tuple[str, ...], runs: list[Run], what: str) -> str:
    bad = [f"  {run.dag_id} {run.day}: {run.state}" for run in runs if run.state != "success"]
    lines = [f"{len(bad)} runs {what}:", *bad[:10], *(["  …"] if len(bad) > 10 else [])]
    for task in list(instance.stuck_tasks(dag_ids))[:1]:
        log = task_log(instance.layout.airflow_home / "logs", task)
        lines += [f"The first of these tasks says, in {log}:", last_words(log)]
    logs = instance.layout.logs
    return "\n".join([*lines, f"Look into {logs / 'scheduler.log'} and the task logs, mend it, run `make demo` again."])


def last_words(log: Path) -> str:
    """The last error in a task's log, from its outer exception; the end of the log if there is none."""
    for line in reversed(log.read_text(errors="replace").splitlines() if log.is_file() else []):
        with suppress(ValueError, KeyError, IndexError, TypeError):
            return f"    {json.loads(line)['error_detail'][0]['exc_value']}"
    return tail(log)


def task_log(logs: Path, task: Mapping[str, Any]) -> Path:
    """Where the last try of a task instance wrote its log."""
    folder = logs / f"dag_id={task['dag_id']}" / f"run_id={task['dag_run_id']}" / f"task_id={task['task_id']}"
    return folder / f"attempt={task.get('try_number') or 1}.log"
