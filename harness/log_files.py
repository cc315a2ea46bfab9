"""Reads the ends of log files, and finds and reads the logs of Airflow's tasks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any


def tail(path: Path, line_count: int = 15) -> str:
    """Returns the last lines of a text file, indented; an empty text if the file is missing."""
    if not path.is_file():
        return ""
    lines = path.read_text(errors="replace").rstrip().splitlines()[-line_count:]
    return "\n".join(f"    {line}" for line in lines)


def last_error(log: Path) -> str:
    """Returns the message of the last exception in a task's log; the end of the log if there is none."""
    for line in reversed(log.read_text(errors="replace").splitlines() if log.is_file() else []):
        with suppress(ValueError, KeyError, IndexError, TypeError):
            return f"    {json.loads(line)['error_detail'][0]['exc_value']}"
    return tail(log)


def task_log(logs: Path, task: Mapping[str, Any]) -> Path:
    """Returns the path of the log of a task instance's last attempt, as the REST API describes the instance."""
    folder = logs / f"dag_id={task['dag_id']}" / f"run_id={task['dag_run_id']}" / f"task_id={task['task_id']}"
    return folder / f"attempt={task.get('try_number') or 1}.log"
