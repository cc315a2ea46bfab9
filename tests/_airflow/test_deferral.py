"""A task that is too early gives its slot back; a task that is ended from outside leaves what it has."""

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
def test_an_early_task_is_rescheduled(task_setup: TaskSetup, map_index: int) -> None:
    """A task whose window is not settled asks to be started when it is, holds nothing and waits for nothing."""
    operator = task_setup.operator(**EARLY)
    with pytest.raises(AirflowRescheduleException) as caught:
        operator.execute(_context(map_index))
    assert caught.value.reschedule_date == SETTLED_AT
    assert (task_setup.clock.sleeps, task_setup.fake.requests) == ([], [])
    task_setup.clock.advance(600)
    assert operator.execute(_context(map_index))["committed"]


def test_a_mapped_task_waits_where_airflow_would_spin(task_setup: TaskSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow before 3.1.8 would start a rescheduled mapped task again at once; there it waits in its slot."""
    monkeypatch.setattr(compat, "_airflow_version", lambda: "3.0.6")
    assert task_setup.operator(**EARLY).execute(_context(0))["committed"]
    assert task_setup.clock.sleeps[0] == 600.0
    with pytest.raises(AirflowRescheduleException):
        task_setup.operator(**EARLY, settle_delay=timedelta(hours=1)).execute(_context())


def test_a_deferrable_task_defers(task_setup: TaskSetup) -> None:
    """A deferrable task is deferred, not rescheduled, in a task as outside of one."""
    with pytest.raises(TaskDeferred):
        task_setup.operator(**EARLY, deferrable=True).execute(_context())


@pytest.mark.parametrize("deferrable", [False, True])
def test_the_scheduler_is_told(deferrable: bool) -> None:
    """The serialized task says that its reschedule dates count, unless it defers."""
    with DAG("d", schedule=None) as dag:
        CloudflareAuditLogsToObjectStorageOperator(task_id="t", destination="file:///x", deferrable=deferrable)
    reported = DagSerialization.serialize_dag(dag)["tasks"][0]["__var"]
    assert reported["_is_sensor"] is True
    assert reported["reschedule"] is (not deferrable)


@pytest.mark.integration
def test_an_ended_task_breaks_off_and_leaves_its_checkpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Ended from outside, a pull stops asking within seconds, and the next try goes on from what it had staged."""
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
        # At most what was on its way on each of the two threads.
        assert len(task_setup.fake.requests) <= ended_count + 2
        task_setup.misbehave()
        landed = task_setup.land(max_part_bytes=1024 * 1024, concurrency=2)
    assert task_setup.lines() == task_setup.raws()
    manifest = msgspec.json.decode((task_setup.destination / landed["manifest_uri"].split("landed/")[1]).read_bytes())
    assert manifest["fetch"]["resumed_count"] > 0


def _end_once_staged(operator: CloudflareAuditLogsToObjectStorageOperator, destination: Path) -> None:
    """End a task, as its process's signal would, as soon as it has left a checkpoint."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and not list(destination.rglob("_staging/**/checkpoint-*.json")):
        time.sleep(0.01)
    operator.on_kill()


def test_a_pull_that_is_not_there_can_be_ended(task_setup: TaskSetup) -> None:
    """To end a task before it reads anything is no error."""
    task_setup.operator().on_kill()
