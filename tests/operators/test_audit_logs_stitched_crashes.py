"""A stitched run that is killed at any storage operation is completed by the next run, in both versions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_audit_provider._airflow import destinations
from airflow_audit_provider.core.ports import Store
from tests.hypothesis_profiles import places
from tests.operators.stitched_setup import (
    CUT_OVER,
    DAY,
    MIDNIGHT,
    committed_ids,
    land_day,
    true_ids,
)
from tests.operators.task_setup import TaskSetup
from tests.pipelines.pull.crashing_store import CrashingStore, CrashPoint, KilledError

pytestmark = pytest.mark.integration
_open = destinations.store_from_connection


@pytest.fixture
def folders(task_setup: TaskSetup) -> Iterator[Path]:
    """New destinations."""
    return (task_setup.destination.with_name(str(number)) for number in range(10_000))


def _land_crashing(task_setup: TaskSetup, monkeypatch: pytest.MonkeyPatch, crash: CrashPoint) -> None:
    """Lands the day of the cut-over on a store that counts its operations and crashes at one."""

    def crashing(destination: str, conn_id: str | None, lake_bucket: str | None = None) -> Store:
        assert lake_bucket is None
        return CrashingStore(_open(destination, conn_id), crash)

    with monkeypatch.context() as patch:
        patch.setattr(destinations, "store_from_connection", crashing)
        land_day(task_setup, 0)


@pytest.mark.parametrize("after_effect", [False, True], ids=["before it", "after it"])
def test_kill_at_any_storage_operation_is_completed_by_the_next_run(
    task_setup: TaskSetup, folders: Iterator[Path], monkeypatch: pytest.MonkeyPatch, after_effect: bool
) -> None:
    """Also between the descriptor and the first window, and between the two versions; `make nightly` tries each."""
    task_setup.destination = next(folders)
    whole = CrashPoint()
    _land_crashing(task_setup, monkeypatch, whole)
    expected = {path.relative_to(task_setup.destination) for path in task_setup.destination.glob("*/_manifests/*/*")}
    v1_ids = true_ids(task_setup, "v1", MIDNIGHT, MIDNIGHT + DAY)
    v2_ids = true_ids(task_setup, "v2", CUT_OVER, MIDNIGHT + DAY)
    for place in places(len(whole.operations), 5, first=2 if after_effect else 0):
        number = place + 1
        task_setup.destination = next(folders)
        with pytest.raises(KilledError):
            _land_crashing(task_setup, monkeypatch, CrashPoint(number, after_effect=after_effect))
        land_day(task_setup, 0)
        where = whole.operations[number - 1]
        found = {path.relative_to(task_setup.destination) for path in task_setup.destination.glob("*/_manifests/*/*")}
        assert found == expected, where
        assert committed_ids(task_setup.destination / "v1") == v1_ids, where
        assert committed_ids(task_setup.destination / "v2") == v2_ids, where
        assert (task_setup.destination / "_stitched.json").exists(), where
