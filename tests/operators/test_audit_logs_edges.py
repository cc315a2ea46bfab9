"""Tests that a recent window is verified at its edges by default, in every mode of waiting."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_audit_provider._airflow.config import SECTION
from airflow_audit_provider.core.archive.manifest import read_manifest
from airflow_audit_provider.core.verification.coverage import facts_of
from tests.operators.task_setup import TaskSetup

# The clock of the setup shows noon; a window that ends then is settled at a quarter past.
NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
WINDOW: dict[str, Any] = {"window_start": NOON - timedelta(hours=2), "window_end": NOON, "api_version": "v2"}
PAUSE_SECONDS = 30


def true_ids(task_setup: TaskSetup) -> list[str]:
    """Returns the ids of the window's records."""
    rows = task_setup.fake.truth("v2", None, WINDOW["window_start"], WINDOW["window_end"])
    return [row.id for row in rows]


def manifest_bytes(task_setup: TaskSetup) -> bytes:
    """Returns the only manifest."""
    return next(content for name, (content, _) in task_setup.tree().items() if "_manifests" in name)


@pytest.mark.parametrize("deferrable", [False, True])
def test_lagging_replica_hides_nothing_of_a_recent_window(task_setup: TaskSetup, deferrable: bool) -> None:
    """Deferred or not, the task looks twice, lands every record, and states how it verified."""
    task_setup.misbehave("lagging_replica=3,first=1")
    operator = task_setup.operator(**WINDOW, deferrable=deferrable)
    if deferrable:
        with pytest.raises(TaskDeferred):
            operator.execute({})
        assert task_setup.fake.requests == []
    task_setup.clock.advance(900)
    summary = operator.execute_settled({}, event={}) if deferrable else operator.execute({})
    assert [json.loads(line)["id"] for line in task_setup.lines()] == true_ids(task_setup)
    assert summary["verified"] == "edges"
    assert sum(task_setup.clock.sleeps) == PAUSE_SECONDS
    manifest = read_manifest("key", manifest_bytes(task_setup))
    assert (manifest.verified, facts_of(manifest).is_recounted) == ("edges", False)


def test_none_turns_the_second_look_off(task_setup: TaskSetup) -> None:
    """The manifest and the summary say so."""
    task_setup.clock.advance(900)
    summary = task_setup.operator(**WINDOW, verify="none").execute({})
    assert (summary["verified"], task_setup.clock.sleeps) == ("none", [])
    assert json.loads(manifest_bytes(task_setup))["verified"] is None


@pytest.mark.integration
def test_old_window_is_not_looked_at_twice(task_setup: TaskSetup) -> None:
    """A backfill costs nothing more, unless it asks for it."""
    assert (task_setup.land()["verified"], task_setup.clock.sleeps) == ("none", [])
    assert task_setup.land(verify="edges", replace=True)["verified"] == "edges"
    assert sum(task_setup.clock.sleeps) == PAUSE_SECONDS


def test_pause_is_configured(task_setup: TaskSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    """By an option of the section."""
    monkeypatch.setenv(f"AIRFLOW__{SECTION.upper()}__EDGES_PAUSE_SECONDS", "90")
    task_setup.land(verify="edges")
    assert sum(task_setup.clock.sleeps) == 90
