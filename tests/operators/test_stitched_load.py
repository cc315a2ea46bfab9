"""The load operators load a stitched history into one table, by catch-up, by asset event and by run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest

from airflow_audit_provider.adapters.clock import SystemClock
from airflow_audit_provider.assets.audit_logs import audit_log_asset
from airflow_audit_provider.cli.__main__ import main
from airflow_audit_provider.exceptions import NotCommittedError
from airflow_audit_provider.operators.warehouses import (
    CloudflareAuditLogsToDeltaOperator,
    CloudflareAuditLogsToSqlOperator,
)
from tests.operators.stitched_setup import CUT_OVER, DAY, MIDNIGHT, day, land_day, true_ids, v1_record, v2_record
from tests.operators.task_setup import TaskSetup
from tests.pipelines.load.delta_tables import delta_rows

pytestmark = pytest.mark.integration


def _load(task_setup: TaskSetup, file: Path, context: dict[str, Any] | None = None, **arguments: Any) -> dict[str, Any]:
    operator = CloudflareAuditLogsToSqlOperator(
        task_id="load", destination=f"file://{task_setup.destination}", duckdb_path=str(file), **arguments
    )
    return operator.execute(context or {})


def _loaded_ids(file: Path, version: str) -> list[str]:
    """Returns the ids in the table, and asserts that each row's dataset is the folder of its version."""
    with duckdb.connect(str(file)) as database:
        rows = database.execute("select api_version, right(dataset, 3), id from cloudflare_audit_logs").fetchall()
    assert all(folder == f"/{name}" for name, folder, _ in rows)
    return sorted(record_id for name, _, record_id in rows if name == version)


def test_pending_windows_of_both_versions_are_one_table(task_setup: TaskSetup, tmp_path: Path) -> None:
    """A second load changes nothing; late records replace the rows of their windows."""
    for number in range(-1, 3):
        land_day(task_setup, number)
    file = tmp_path / "audit.duckdb"
    assert _load(task_setup, file)["loaded_count"] == 6
    assert _load(task_setup, file)["loaded_count"] == 0
    task_setup.fake.add(v1_record("2026-10-20T05:59:59.999999Z", "late-v1"), "v1")
    task_setup.fake.add(v2_record("2026-10-20T06:00:00Z", "late-v2"), "v2")
    land_day(task_setup, 0)
    assert _load(task_setup, file, windows="run", **day(0))["replaced_count"] == 2
    assert _loaded_ids(file, "v1") == true_ids(task_setup, "v1", MIDNIGHT - DAY, MIDNIGHT + 2 * DAY)
    assert _loaded_ids(file, "v2") == true_ids(task_setup, "v2", CUT_OVER, MIDNIGHT + 3 * DAY)


def test_delta_table_has_both_versions(task_setup: TaskSetup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stitched history is one Delta table with each record once, also after late records of both versions."""
    # The commit log, by which pending windows are found, has the time of the clock that lands.
    monkeypatch.setattr(SystemClock, "now", lambda _: task_setup.clock.now())
    for number in (-1, 0, 2):
        land_day(task_setup, number)
    table = tmp_path / "delta"

    def load() -> dict[str, Any]:
        operator = CloudflareAuditLogsToDeltaOperator(
            task_id="load", destination=f"file://{task_setup.destination}", table=str(table)
        )
        return operator.execute({})

    assert load()["loaded_count"] == 4
    assert load()["loaded_count"] == 0
    task_setup.fake.add(v1_record("2026-10-20T05:59:59.999999Z", "late-v1"), "v1")
    task_setup.fake.add(v2_record("2026-10-20T06:00:00Z", "late-v2"), "v2")
    land_day(task_setup, 0)
    assert load()["replaced_count"] == 2
    rows = delta_rows(table, ("api_version", "dataset", "id"))
    assert all(str(dataset).endswith(f"/{version}") for version, dataset, _ in rows)
    found = {name: sorted(str(one) for version, _, one in rows if version == name) for name in ("v1", "v2")}
    v1, day_2 = true_ids(task_setup, "v1", MIDNIGHT - DAY, MIDNIGHT + DAY), MIDNIGHT + 2 * DAY
    v2 = true_ids(task_setup, "v2", CUT_OVER, MIDNIGHT + DAY) + true_ids(task_setup, "v2", day_2, day_2 + DAY)
    assert found == {"v1": v1, "v2": sorted(v2)}


def test_command_line_loads_both_versions(task_setup: TaskSetup, tmp_path: Path) -> None:
    """A task then has nothing to load, because they share the ledger."""
    land_day(task_setup, 0)
    file = tmp_path / "audit.duckdb"
    assert main(["load", f"file://{task_setup.destination}", "--duckdb", str(file), "--quiet"]) == 0
    assert _loaded_ids(file, "v1") == true_ids(task_setup, "v1", MIDNIGHT, MIDNIGHT + DAY)
    assert _loaded_ids(file, "v2") == true_ids(task_setup, "v2", CUT_OVER, MIDNIGHT + DAY)
    assert _load(task_setup, file)["loaded_count"] == 0


@pytest.mark.parametrize("number", [-1, 0, 2])
def test_asset_event_loads_what_its_run_has_landed(task_setup: TaskSetup, tmp_path: Path, number: int) -> None:
    """Before the cut-over, on its day, and after the overlap."""
    extra = land_day(task_setup, number)
    asset = audit_log_asset(f"file://{task_setup.destination}")
    context = {"triggering_asset_events": {asset: [SimpleNamespace(extra=extra)]}}
    summary = _load(task_setup, tmp_path / "audit.duckdb", context, windows="events")
    assert summary["record_count"] == extra["record_count"]
    assert summary["loaded_count"] == len(extra["streams"])


def test_run_whose_window_lacks_a_version_fails_after_the_other_is_loaded(
    task_setup: TaskSetup, tmp_path: Path
) -> None:
    """It is retried; with both versions landed it succeeds."""
    file, arguments = tmp_path / "audit.duckdb", {"windows": "run", **day(0)}
    land_day(task_setup, 0)
    (moved := task_setup.destination / "v1").rename(tmp_path / "v1")
    with pytest.raises(NotCommittedError):
        _load(task_setup, file, **arguments)
    assert _loaded_ids(file, "v2") == true_ids(task_setup, "v2", CUT_OVER, MIDNIGHT + DAY)
    (tmp_path / "v1").rename(moved)
    assert _load(task_setup, file, **arguments)["loaded_count"] == 1


@pytest.mark.parametrize("number", [-2, 3])
def test_history_on_one_side_of_the_cut_over_loads_without_the_other_version(
    task_setup: TaskSetup, tmp_path: Path, number: int
) -> None:
    """A history that begins after the overlap never has a window of version 1."""
    land_day(task_setup, number)
    assert _load(task_setup, tmp_path / "audit.duckdb")["loaded_count"] == 1


def test_version_that_the_other_one_requires_is_missing(task_setup: TaskSetup, tmp_path: Path) -> None:
    """The load fails if a folder that the history needs is empty."""
    land_day(task_setup, 0)
    (task_setup.destination / "v2").rename(tmp_path / "v2")
    with pytest.raises(NotCommittedError):
        _load(task_setup, tmp_path / "audit.duckdb")
