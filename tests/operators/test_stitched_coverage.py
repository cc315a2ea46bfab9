"""Coverage and verification of a stitched history answer over both versions, and find what one of them lacks."""

from __future__ import annotations

import json
import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.cli.__main__ import main
from airflow_audit_provider.core.verification.coverage import Span
from airflow_audit_provider.exceptions import ConfigurationError
from airflow_audit_provider.operators.verify import CloudflareAuditLogsVerifyOperator
from airflow_audit_provider.pipelines.coverage import DatasetCoverage, coverage
from airflow_audit_provider.pipelines.gaps import GapRequest, find_gaps
from airflow_audit_provider.testing.settings import ACCOUNT_ID
from tests.operators.stitched_setup import CUT_OVER, DAY, HOUR, MIDNIGHT, land_day
from tests.operators.task_setup import TaskSetup

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def landed_history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Days from two before the cut-over to three after it, landed once."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        task_setup = TaskSetup(monkeypatch, tmp_path_factory.mktemp("history") / "landed")
        for number in range(-2, 4):
            land_day(task_setup, number)
    return task_setup.destination


@pytest.fixture
def history(landed_history: Path, task_setup: TaskSetup) -> Path:
    """A copy of them, which a test may damage."""
    return shutil.copytree(landed_history, task_setup.destination)


def _covered(root: Path, start: datetime | None = None, end: datetime | None = None) -> dict[str, DatasetCoverage]:
    found = coverage(LocalStore(str(root)), MIDNIGHT + 4 * DAY + HOUR, start, end)
    return {one.folder: one for one in found}


def _missing(found: DatasetCoverage) -> list[tuple[datetime, datetime]]:
    return [(span.start, span.end) for span in found.coverage.missing]


def _remove_day(root: Path, version: str, start: datetime) -> None:
    for path in root.glob(f"{version}/_manifests/dt={start.date()}/*"):
        path.unlink()


def test_whole_history_is_complete(history: Path) -> None:
    """Version 1 up to the end of the overlap, version 2 from the cut-over on."""
    found = _covered(history)
    assert {folder: one.is_complete for folder, one in found.items()} == {"v1/": True, "v2/": True}
    assert (found["v1/"].coverage.start, found["v1/"].coverage.end) == (MIDNIGHT - 2 * DAY, CUT_OVER + DAY)
    assert (found["v2/"].coverage.start, found["v2/"].coverage.end) == (CUT_OVER, MIDNIGHT + 4 * DAY)


@pytest.mark.parametrize("is_asked", [False, True])
def test_day_that_is_missing_at_the_border_is_found_in_each_version(history: Path, is_asked: bool) -> None:
    """Although the other version has it, with a range and without."""
    bounds = (MIDNIGHT - 2 * DAY, MIDNIGHT + 4 * DAY) if is_asked else (None, None)
    _remove_day(history, "v1", MIDNIGHT + DAY)
    found = _covered(history, *bounds)
    assert _missing(found["v1/"]) == [(MIDNIGHT + DAY, CUT_OVER + DAY)]
    assert found["v2/"].is_complete
    _remove_day(history, "v2", CUT_OVER)
    assert _missing(_covered(history, *bounds)["v2/"]) == [(CUT_OVER, MIDNIGHT + DAY)]


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_version_without_any_window_is_missing_as_a_whole(history: Path, version: str) -> None:
    """Nothing else shows that its folder is gone."""
    shutil.rmtree(history / version)
    found = _covered(history, MIDNIGHT - 2 * DAY, MIDNIGHT + 4 * DAY)
    expected = {"v1": (MIDNIGHT - 2 * DAY, CUT_OVER + DAY), "v2": (CUT_OVER, MIDNIGHT + 4 * DAY)}
    assert _missing(found[f"{version}/"]) == [expected[version]]
    assert found[f"{version}/"].dataset.query.version == version
    other = "v2" if version == "v1" else "v1"
    assert found[f"{other}/"].is_complete


def test_version_without_any_window_is_missing_without_a_range(history: Path) -> None:
    """The other version shows where the history ends."""
    shutil.rmtree(history / "v2")
    assert _missing(_covered(history)["v2/"]) == [(CUT_OVER, MIDNIGHT + 2 * DAY)]


def test_range_on_one_side_of_the_border_needs_one_version(history: Path) -> None:
    """Nothing is missing of the other one."""
    assert set(_covered(history, MIDNIGHT - DAY, MIDNIGHT)) == {"v1/"}
    assert set(_covered(history, MIDNIGHT + 2 * DAY, MIDNIGHT + 3 * DAY)) == {"v2/"}


def test_last_hours_are_pending_in_both_versions(task_setup: TaskSetup) -> None:
    """A day that is not over is not due in either one."""
    for number in range(4):
        land_day(task_setup, number, overlap=timedelta.max)
    found = _covered(task_setup.destination, MIDNIGHT, MIDNIGHT + 5 * DAY)
    assert all(one.is_complete for one in found.values())
    last: list[Span] = [one.coverage.spans[-1] for one in found.values()]
    assert [(span.state, span.start) for span in last] == [("pending", MIDNIGHT + 4 * DAY)] * 2


def test_histories_below_one_root_are_found(history: Path) -> None:
    """Each by its own descriptor."""
    _remove_day(history, "v1", MIDNIGHT + DAY)
    found = _covered(history.parent)
    assert {folder: one.is_complete for folder, one in found.items()} == {"landed/v1/": False, "landed/v2/": True}


def test_folders_named_like_versions_without_a_descriptor_are_datasets(history: Path) -> None:
    """Each covers its own range."""
    (history / "_stitched.json").unlink()
    found = _covered(history)
    assert found["v1/"].coverage.end == MIDNIGHT + 2 * DAY


def test_later_cut_over_in_the_descriptor_hides_no_window(history: Path) -> None:
    """Coverage asks for less; a verification finds the windows that have no place."""
    _change(history, cut_over_at="2026-10-21T06:00:00Z")
    assert _covered(history)["v2/"].coverage.start == CUT_OVER + DAY


def _change(history: Path, **fields: Any) -> None:
    path = history / "_stitched.json"
    content = json.loads(path.read_bytes()) | fields
    path.write_bytes(json.dumps(content, sort_keys=True, separators=(",", ":")).encode())


def _found(history: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    """Returns exit status and report of the command line's verification."""
    # Airflow may have logged to the terminal.
    capsys.readouterr()
    status = main(["verify", str(history), "--json", *arguments])
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    return status, report


def test_verification_counts_both_versions_and_records_the_pass_of_each(
    history: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Coverage then shows it, for each version."""
    status, report = _found(history, capsys)
    assert (status, report["window_count"], report["findings"]) == (0, 8, [])
    assert report["record_count"] == sum(one.coverage.record_count for one in _covered(history).values())
    assert [len(list(history.glob(f"{version}/_verified/*"))) for version in ("v1", "v2")] == [1, 1]
    assert main(["coverage", str(history), "--end", (MIDNIGHT + 4 * DAY).isoformat()]) == 0
    said = capsys.readouterr().out
    assert f"Stitched history: account {ACCOUNT_ID}, filters none" in said
    assert "cut_over 2026-10-20T06:00:00Z, overlap 1 day" in said


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_damaged_part_is_found_in_each_version(history: Path, capsys: pytest.CaptureFixture[str], version: str) -> None:
    """The key has the folder in front, and neither version gets the record of a pass."""
    part = next(history.glob(f"{version}/dt=*/*/*"))
    part.write_bytes(part.read_bytes()[:-2] + b"~\n")
    status, report = _found(history, capsys)
    assert status == 1
    assert str(part.relative_to(history)) in {one["key"] for one in report["findings"]}
    assert not list(history.glob("*/_verified/*"))


@pytest.mark.parametrize(
    ("fields", "version"),
    [
        ({"cut_over_at": "2026-10-21T06:00:00Z"}, "v2"),
        ({"cut_over_at": "2026-10-17T06:00:00Z"}, "v1"),
        ({"overlap_seconds": 3600}, "v1"),
    ],
)
def test_changed_descriptor_leaves_windows_without_a_place(
    history: Path, capsys: pytest.CaptureFixture[str], fields: dict[str, Any], version: str
) -> None:
    """A verification names the windows; the descriptor itself is not sealed."""
    _change(history, **fields)
    status, report = _found(history, capsys)
    assert status == 1
    foreign = [one["key"] for one in report["findings"] if one["kind"] == "window_foreign"]
    assert foreign
    assert all(key.startswith(f"{version}/_manifests/") for key in foreign)


@pytest.mark.parametrize(
    ("fields", "said"),
    [({"account_id": "f" * 32}, "not v1, account f"), ({"filters": [["zone_name", "a"]]}, "zone_name=a")],
)
def test_descriptor_of_another_log_is_found(
    history: Path, capsys: pytest.CaptureFixture[str], fields: dict[str, Any], said: str
) -> None:
    """Each version's dataset states the log, and its windows are compared with that."""
    _change(history, **fields)
    status, report = _found(history, capsys)
    assert (status, {one["key"] for one in report["findings"]}) == (1, {"_stitched.json"})
    assert said in report["findings"][0]["detail"]
    assert not list(history.glob("*/_verified/*"))


def test_descriptor_with_other_bytes_and_a_foreign_folder_are_found(
    history: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A task without history may have landed windows into the root itself."""
    path = history / "_stitched.json"
    path.write_bytes(path.read_bytes() + b" ")
    (history / "_manifests").mkdir()
    (history / "_manifests" / "x").touch()
    status, report = _found(history, capsys)
    assert status == 1
    assert {(one["kind"], one["key"]) for one in report["findings"]} == {
        ("dataset_unreadable", "_stitched.json"),
        ("object_unexpected", "_manifests/"),
    }


def test_history_before_the_cut_over_verifies_without_version_2(
    task_setup: TaskSetup, capsys: pytest.CaptureFixture[str]
) -> None:
    """A removed folder that the history needs is a finding."""
    land_day(task_setup, -2)
    assert _found(task_setup.destination, capsys)[0] == 0
    land_day(task_setup, 0)
    assert _found(task_setup.destination, capsys)[0] == 0
    shutil.rmtree(task_setup.destination / "v2")
    status, report = _found(task_setup.destination, capsys)
    assert (status, [one["kind"] for one in report["findings"]]) == (1, ["nothing_committed"])


def test_range_after_the_overlap_verifies_version_2_only(history: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Version 1 has to cover nothing there."""
    bounds = ("--start", (MIDNIGHT + 3 * DAY).isoformat(), "--end", (MIDNIGHT + 4 * DAY).isoformat())
    status, report = _found(history, capsys, *bounds)
    assert (status, report["window_count"]) == (0, 1)


def test_expected_seal_is_refused_for_the_root(history: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each version has a chain of its own; so have seals and sweeps."""
    assert main(["verify", str(history), "--expect-seal", "0" * 64]) == 2
    assert "each version has seals of its own" in capsys.readouterr().err
    for verb in ("seal", "sweep"):
        assert main([verb, str(history)]) == 2
        said = capsys.readouterr().err
        assert "root of a stitched history" in said
        assert (
            "v1 holds the windows that start before 2026-10-21T06:00:00Z, v2 those that start at 2026-10-20T06" in said
        )
        assert main([verb, str(history / "v1")]) == 0
    with pytest.raises(ConfigurationError, match="root of a stitched history"):
        find_gaps(LocalStore(str(history)), MIDNIGHT + 4 * DAY, GapRequest(start=MIDNIGHT))


def test_verify_operator_answers_over_both_versions(history: Path) -> None:
    """It records the pass of each, and fails for a severe finding of either."""
    operator = CloudflareAuditLogsVerifyOperator(task_id="verify", destination=f"file://{history}")
    assert operator.execute({})["window_count"] == 8
    assert [len(list(history.glob(f"{version}/_verified/*"))) for version in ("v1", "v2")] == [1, 1]
    next(history.glob("v2/dt=*/*/*")).unlink()
    with pytest.raises(AirflowFailException, match=r"v2/dt="):
        operator.execute({})
