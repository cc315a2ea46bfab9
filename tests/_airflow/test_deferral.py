"""Tests that a task whose window is not settled frees its slot, and that a killed task keeps its checkpoint."""

from __future__ import annotations

import threading
import time
from concurrent.futures import CancelledError
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from airflow.providers.common.compat.sdk import TaskDeferred
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowRescheduleException
from airflow.serialization.serialized_objects import DagSerialization

from airflow_audit_provider._airflow import compat
from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator
from airflow_audit_provider.testing.server import FakeServer
from tests.operators.task_setup import WINDOW, TaskSetup

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
EARLY = {"window_start": NOON - timedelta(hours=1), "window_end": NOON - timedelta(minutes=5)}
# How long the pull may take to stage something before it is ended.
PATIENCE_SECONDS = 300
SETTLED_AT = NOON + timedelta(minutes=10)


def _context(map_index: int = -1) -> dict[str, Any]:
    return {"ti": SimpleNamespace(map_index=map_index)}


@pytest.mark.parametrize("map_index", [-1, 0])
def test_task_before_settled_window_is_rescheduled(task_setup: TaskSetup, map_index: int) -> None:
    """Raises a reschedule for the instant the window is settled, without a request or a sleep."""
    operator = task_setup.operator(**EARLY)
    with pytest.raises(AirflowRescheduleException) as caught:
        operator.execute(_context(map_index))
    assert caught.value.reschedule_date == SETTLED_AT
    assert (task_setup.clock.sleeps, task_setup.fake.requests) == ([], [])
    task_setup.clock.advance(600)
    assert operator.execute(_context(map_index))["committed"]


def test_mapped_task_before_airflow_3_1_8_sleeps_until_settled(
    task_setup: TaskSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow before 3.1.8 restarts a rescheduled mapped task at once, so the task sleeps instead."""
    monkeypatch.setattr(compat, "_airflow_version", lambda: "3.0.6")
    assert task_setup.operator(**EARLY).execute(_context(0))["committed"]
    assert task_setup.clock.sleeps[0] == 600.0
    with pytest.raises(AirflowRescheduleException):
        task_setup.operator(**EARLY, settle_delay=timedelta(hours=1)).execute(_context())


def test_deferrable_task_before_settled_window_defers(task_setup: TaskSetup) -> None:
    """Raises ``TaskDeferred`` instead of a reschedule."""
    with pytest.raises(TaskDeferred):
        task_setup.operator(**EARLY, deferrable=True).execute(_context())


@pytest.mark.integration
@pytest.mark.parametrize("deferrable", [False, True])
def test_serialized_task_declares_reschedule_unless_deferrable(deferrable: bool) -> None:
    """The scheduler respects the reschedule dates of a task that declares them."""
    with DAG("d", schedule=None) as dag:
        CloudflareAuditLogsToObjectStorageOperator(task_id="t", destination="file:///x", deferrable=deferrable)
    reported = DagSerialization.serialize_dag(dag)["tasks"][0]["__var"]
    assert reported["_is_sensor"] is True
    assert reported["reschedule"] is (not deferrable)


@pytest.mark.integration
def test_killed_task_stops_requests_and_next_attempt_resumes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Stops requests within a second; the next attempt resumes from the checkpoint."""
    task_setup = TaskSetup(monkeypatch, tmp_path / "landed", records_per_day=12_000)
    with FakeServer(task_setup.fake) as server:
        task_setup.connect(host=server.base_url)
        task_setup.misbehave("slow=300,after=6")
        operator = CloudflareAuditLogsToObjectStorageOperator(
            task_id="land",
            destination=f"file://{task_setup.destination}",
            compression="none",
            max_part_bytes=1024 * 1024,
            concurrency=2,
            **WINDOW,
        )
        ender = threading.Thread(target=_end_once_staged, args=(operator, task_setup.destination))
        ender.start()
        with pytest.raises(CancelledError):
            operator.execute({})
        ender.join()
        assert not list(task_setup.destination.rglob("_manifests/**/*.json"))
        ended_count = len(task_setup.fake.requests)
        time.sleep(1.0)
        # At most the request in flight on each of the two threads.
        assert len(task_setup.fake.requests) <= ended_count + 2
        task_setup.misbehave()
        landed = task_setup.land(max_part_bytes=1024 * 1024, concurrency=2)
    assert task_setup.lines() == task_setup.raws()
    manifest = msgspec.json.decode((task_setup.destination / landed["manifest_uri"].split("landed/")[1]).read_bytes())
    assert manifest["fetch"]["resumed_count"] > 0


def _end_once_staged(operator: CloudflareAuditLogsToObjectStorageOperator, destination: Path) -> None:
    """Kills a task by ``on_kill`` as soon as it has written a checkpoint."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and not list(destination.rglob("_staging/**/checkpoint-*.json")):
        time.sleep(0.01)
    operator.on_kill()


def test_on_kill_before_execute_does_nothing(task_setup: TaskSetup) -> None:
    """Killing a task before it reads anything raises no error."""
    task_setup.operator().on_kill()
