"""The command changes derives what committed records changed, and shows it for one record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_audit_provider.cli import plan_run
from airflow_audit_provider.cli.__main__ import main
from airflow_audit_provider.testing.changes import SeededChange, seeded_changes
from airflow_audit_provider.testing.instants import SECOND_NS, to_ns
from tests.operators.task_setup import END, START, TaskSetup


@pytest.fixture
def landed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[TaskSetup, list[SeededChange]]:
    """A landed day of changes, and a command that is connected to the fake and its clock."""
    task_setup = TaskSetup(monkeypatch, tmp_path / "audit", records_per_day=0)
    changes = seeded_changes(11, [to_ns(START) + number * 600 * SECOND_NS for number in range(40)], 6)
    for change in changes:
        task_setup.fake.add(change.raw, "v2")
    task_setup.land(api_version="v2", window_end=END)
    monkeypatch.setattr(plan_run, "hook_for", lambda _: task_setup.hook())
    return task_setup, changes


def run(task_setup: TaskSetup, *options: str) -> int:
    """Runs the command for the destination."""
    return main(["changes", str(task_setup.destination), *options])


def printed(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Returns the JSON that was printed."""
    values: dict[str, Any] = json.loads(capsys.readouterr().out)
    return values


def test_changes_are_derived_once_in_portions(
    landed: tuple[TaskSetup, list[SeededChange]], capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that is limited ends with 1, the next one continues, and a further one finds nothing to do."""
    task_setup, changes = landed
    assert run(task_setup, "--json") == 0
    summary = printed(capsys)
    assert (summary["record_count"], summary["history_status"]) == (len(changes), {"exact": len(changes)})
    assert run(task_setup) == 0
    assert "window_count: 0" in capsys.readouterr().out
    assert run(task_setup, "--max-requests", "0") == 2
    assert run(task_setup, "--rate-share", "2") == 2


def test_change_of_a_record_is_shown_field_by_field(
    landed: tuple[TaskSetup, list[SeededChange]], capsys: pytest.CaptureFixture[str]
) -> None:
    """The text has each field that differs, before and after; nothing is written and nothing requested."""
    task_setup, changes = landed
    changed = next(one for one in changes if one.before and one.after and one.before["ttl"] != one.after["ttl"])
    assert changed.before is not None
    assert changed.after is not None
    assert run(task_setup, "--show", changed.record_id) == 1
    assert "No changes of the record" in capsys.readouterr().err
    run(task_setup)
    capsys.readouterr()
    before = task_setup.tree()
    task_setup.fake.requests.clear()
    assert run(task_setup, "--show", changed.record_id) == 0
    text = capsys.readouterr().out
    assert f"ttl:\n  - {changed.before['ttl']}\n  + {changed.after['ttl']}\n" in text
    assert run(task_setup, "--show", changed.record_id, "--json") == 0
    row = printed(capsys)
    assert (row["before"], row["after"]) == (changed.before, changed.after)
    assert (task_setup.tree(), task_setup.fake.requests) == (before, [])


def test_damaged_file_of_changes_is_not_shown(
    landed: tuple[TaskSetup, list[SeededChange]], capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that is not the one that its commit names is an error."""
    task_setup, changes = landed
    run(task_setup)
    for path in (task_setup.destination / "_changes").rglob("*.jsonl.gz"):
        path.write_bytes(path.read_bytes() + path.read_bytes())
    assert run(task_setup, "--show", changes[0].record_id) == 1
    assert "is not the one that its commit names" in capsys.readouterr().err
