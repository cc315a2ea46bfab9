"""Setup for tests of a stitched history: a cut-over in the fake's log, runs of days, and what each version has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.pipelines.verify import verify
from tests.operators.task_setup import TaskSetup

DAY, HOUR, TICK = timedelta(days=1), timedelta(hours=1), timedelta(microseconds=1)
CUT_OVER = datetime(2026, 10, 20, 6, tzinfo=UTC)
MIDNIGHT = CUT_OVER - 6 * HOUR
STITCHED: dict[str, Any] = {"history": "stitched", "cut_over": CUT_OVER}


def day(number: int) -> dict[str, Any]:
    """Returns the bounds of a day; 0 is that of the cut-over."""
    return {"window_start": MIDNIGHT + number * DAY, "window_end": MIDNIGHT + (number + 1) * DAY}


def v1_record(when: str, record_id: str) -> bytes:
    """Returns a record of version 1."""
    return json.dumps({"id": record_id, "when": when, "action": {"type": "add", "result": True}}).encode()


def v2_record(when: str, record_id: str) -> bytes:
    """Returns a record of version 2."""
    return json.dumps({"id": record_id, "action": {"type": "create", "time": when, "result": "success"}}).encode()


def committed_ids(folder: Path) -> list[str]:
    """Returns the ids of all committed records of one version, and asserts that its dataset verifies."""
    assert not verify(LocalStore(str(folder))).findings
    lines = [line for part in sorted(folder.glob("dt=*/*/*")) for line in part.read_bytes().splitlines()]
    return sorted(json.loads(line)["id"] for line in lines)


def true_ids(task_setup: TaskSetup, version: str, start: datetime, end: datetime) -> list[str]:
    """Returns the ids that the fake has in a range, sorted."""
    return sorted(row.id for row in task_setup.fake.truth(version, None, start, end))


def land_day(task_setup: TaskSetup, number: int, **arguments: Any) -> Mapping[str, Any]:
    """Lands a day of the stitched history; returns the summary."""
    return task_setup.land(**day(number), **{**STITCHED, **arguments})
