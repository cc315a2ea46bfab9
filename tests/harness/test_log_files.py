"""The end of a log and the error in a task's log are found."""

from __future__ import annotations

import json
from pathlib import Path

from harness.log_files import last_error, tail, task_log


def test_task_log_is_of_the_last_attempt(tmp_path: Path) -> None:
    """The log is that of the last attempt."""
    task = {"dag_id": "d", "dag_run_id": "r", "task_id": "t", "try_number": 3}
    assert task_log(tmp_path, task) == tmp_path / "dag_id=d" / "run_id=r" / "task_id=t" / "attempt=3.log"


def test_last_error_is_the_exceptions_message(tmp_path: Path) -> None:
    """Only the error's message of a task's log is shown; without an error, the end of the log."""
    log = tmp_path / "attempt=1.log"
    said = {"event": "Task failed", "error_detail": [{"exc_type": "E", "exc_value": "Check the token."}]}
    log.write_text(json.dumps(said) + '\n{"event": "over"}\n')
    assert last_error(log) == "    Check the token."
    log.write_text("killed\n")
    assert last_error(log) == "    killed"
    assert last_error(tmp_path / "none") == ""


def test_tail_shows_the_last_lines(tmp_path: Path) -> None:
    """The end of a log is shown; a missing log is an empty text."""
    (tmp_path / "log").write_text("one\ntwo\nthree\n")
    assert tail(tmp_path / "log", 2) == "    two\n    three"
    assert tail(tmp_path / "none") == ""
