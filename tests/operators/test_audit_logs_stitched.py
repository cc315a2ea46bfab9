"""The land operator lands both versions of the API below one root, and loses no record at the cut-over."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred

from airflow_audit_provider.assets.audit_logs import audit_log_asset
from airflow_audit_provider.core.warehouse.load_plan import are_single_windows, event_windows
from airflow_audit_provider.exceptions import CommitConflictError, ConfigurationError, VerificationError
from tests.operators.stitched_setup import (
    CUT_OVER,
    DAY,
    HOUR,
    MIDNIGHT,
    STITCHED,
    TICK,
    committed_ids,
    day,
    land_day,
    true_ids,
    v1_record,
    v2_record,
)
from tests.operators.task_setup import TaskSetup


def _said(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> str:
    """Returns what was logged: Airflow's versions log by structlog to the terminal, or by the standard library."""
    return capsys.readouterr().out + "\n".join(record.getMessage() for record in caplog.records)


def _descriptor(task_setup: TaskSetup) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((task_setup.destination / "_stitched.json").read_bytes())
    return found


def _windows(task_setup: TaskSetup, version: str) -> list[str]:
    return sorted(path.name.partition(".")[0] for path in task_setup.destination.glob(f"{version}/_manifests/*/*"))


@pytest.mark.integration
def test_days_around_the_cut_over_have_every_record_of_both_versions(task_setup: TaskSetup) -> None:
    """The day of the cut-over is whole in version 1, and begins at the cut-over in version 2."""
    for number in range(-2, 4):
        land_day(task_setup, number)
    assert committed_ids(task_setup.destination / "v1") == true_ids(
        task_setup, "v1", MIDNIGHT - 2 * DAY, MIDNIGHT + 2 * DAY
    )
    assert committed_ids(task_setup.destination / "v2") == true_ids(task_setup, "v2", CUT_OVER, MIDNIGHT + 4 * DAY)
    assert _windows(task_setup, "v2")[0] == "20261020T060000Z-20261021T000000Z"


@pytest.mark.integration
def test_divided_run_lands_what_a_run_for_each_day_does(task_setup: TaskSetup) -> None:
    """The windows are the same in both versions, the cut one too."""
    bounds = {"window_start": MIDNIGHT - 2 * DAY, "window_end": MIDNIGHT + 4 * DAY, "partition_by": "day"}
    summary = task_setup.land(**bounds, **STITCHED)
    v2_count = len(true_ids(task_setup, "v2", CUT_OVER, MIDNIGHT + 4 * DAY))
    assert (summary["window_count"], summary["record_count"]) == (8, 4 * 300 + v2_count)
    divided = {version: _windows(task_setup, version) for version in ("v1", "v2")}
    task_setup.destination = task_setup.destination.with_name("each")
    for number in range(-2, 4):
        land_day(task_setup, number)
    assert divided == {version: _windows(task_setup, version) for version in ("v1", "v2")}


@pytest.mark.integration
@pytest.mark.parametrize("bounds", [{"partition_by": "month"}, {}])
def test_month_that_straddles_the_cut_over_verifies_in_both_versions(
    task_setup: TaskSetup, bounds: dict[str, Any]
) -> None:
    """The part of a long window after the cut-over is filed under its own start."""
    month = {"window_start": "2026-10-01", "window_end": "2026-11-01", **bounds}
    task_setup.clock.advance(timedelta(days=40).total_seconds())
    task_setup.land(**month, **STITCHED)
    november = datetime(2026, 11, 1, tzinfo=UTC)
    assert committed_ids(task_setup.destination / "v2") == true_ids(task_setup, "v2", CUT_OVER, november)


@pytest.mark.integration
def test_records_at_the_border_are_in_each_version_that_has_to_hold_them(task_setup: TaskSetup) -> None:
    """One tick before, at and after the cut-over, and the end of the overlap, to the nanosecond."""
    times = {
        "before": "2026-10-20T05:59:59.999999999Z",
        "at": "2026-10-20T06:00:00Z",
        "after": "2026-10-20T06:00:00.000000001Z",
        "overlap-last": "2026-10-21T05:59:59.999999999Z",
        "overlap-end": "2026-10-21T06:00:00Z",
    }
    for name, when in times.items():
        task_setup.fake.add(v1_record(when, f"v1-{name}"), "v1")
        task_setup.fake.add(v2_record(when, f"v2-{name}"), "v2")
    # The hours on both sides of the cut-over, and of the end of the overlap a day later.
    for hour in (*range(4, 9), *range(28, 33)):
        start = MIDNIGHT + hour * HOUR
        task_setup.land(window_start=start, window_end=start + HOUR, **STITCHED)
    added = {name for name in committed_ids(task_setup.destination / "v1") if name.startswith("v1-")}
    assert added == {"v1-before", "v1-at", "v1-after", "v1-overlap-last"}
    added = {name for name in committed_ids(task_setup.destination / "v2") if name.startswith("v2-")}
    assert added == {"v2-at", "v2-after", "v2-overlap-last", "v2-overlap-end"}


@pytest.mark.integration
@pytest.mark.parametrize("seconds", [-3599, -1, 1, 3599])
def test_action_that_the_versions_date_differently_is_in_one_of_them(task_setup: TaskSetup, seconds: int) -> None:
    """With the shortest overlap, and the two times on either side of the cut-over."""
    first, last = CUT_OVER - 1 * TICK, CUT_OVER - 1 * TICK + timedelta(seconds=abs(seconds))
    v1_at, v2_at = (first, last) if seconds > 0 else (last, first)
    task_setup.fake.add(v1_record(v1_at.isoformat(), "action-v1"), "v1")
    task_setup.fake.add(v2_record(v2_at.isoformat(), "action-v2"), "v2")
    for hour in range(4, 9):
        start = MIDNIGHT + hour * HOUR
        task_setup.land(window_start=start, window_end=start + HOUR, **STITCHED, overlap=HOUR)
    landed = [*committed_ids(task_setup.destination / "v1"), *committed_ids(task_setup.destination / "v2")]
    assert "action-v1" in landed or "action-v2" in landed


@pytest.mark.integration
def test_late_records_on_both_sides_of_the_border_are_added_by_lookback(task_setup: TaskSetup) -> None:
    """Version 1 is looked at also by runs that land version 2 only."""
    for number in range(-2, 3):
        land_day(task_setup, number)
    for when in ("2026-10-20T05:59:59.999999999Z", "2026-10-20T06:00:00Z", "2026-10-21T05:00:00Z"):
        task_setup.fake.add(v1_record(when, f"late-v1-{when}"), "v1")
        task_setup.fake.add(v2_record(when, f"late-v2-{when}"), "v2")
    summary = land_day(task_setup, 3, lookback=7 * DAY)
    assert (summary["late_count"], summary["record_count"]) == (5, 300)
    late = [name for name in committed_ids(task_setup.destination / "v1") if name.startswith("late")]
    assert len(late) == 3
    late = [name for name in committed_ids(task_setup.destination / "v2") if name.startswith("late")]
    assert late == ["late-v2-2026-10-20T06:00:00Z", "late-v2-2026-10-21T05:00:00Z"]


@pytest.mark.integration
def test_late_records_of_a_divided_run_are_added_on_request(task_setup: TaskSetup) -> None:
    """In both versions."""
    bounds = {"window_start": MIDNIGHT - 2 * DAY, "window_end": MIDNIGHT + 4 * DAY, "partition_by": "day"}
    task_setup.land(**bounds, **STITCHED)
    task_setup.fake.add(v1_record("2026-10-20T05:59:59Z", "late-v1"), "v1")
    task_setup.fake.add(v2_record("2026-10-20T06:00:00Z", "late-v2"), "v2")
    summary = task_setup.land(**bounds, **STITCHED, reread_committed=True)
    assert (summary["added_count"], summary["committed_count"]) == (2, 2)


@pytest.mark.integration
def test_summary_has_the_sums_and_each_version_and_loads_by_event(task_setup: TaskSetup) -> None:
    """The asset is the root's; the event is about several windows."""
    asset = audit_log_asset(f"file://{task_setup.destination}")
    event = SimpleNamespace(extra=None)
    operator = task_setup.operator(**day(0), **STITCHED, outlets=[asset])
    summary = operator.execute({"outlet_events": {asset: event}})
    assert event.extra == {"summary": event.extra["summary"], **summary}
    assert summary == json.loads(json.dumps(summary))
    v2_count = len(true_ids(task_setup, "v2", CUT_OVER, MIDNIGHT + DAY))
    assert (summary["record_count"], summary["part_count"], summary["committed"]) == (300 + v2_count, 2, True)
    assert {name: one["record_count"] for name, one in summary["streams"].items()} == {"v1": 300, "v2": v2_count}
    assert summary["manifest_uri"] == operator.manifest_uri
    assert "/v2/_manifests/" in summary["manifest_uri"]
    (window,) = event_windows([event.extra])
    assert (window.start, window.end) == (MIDNIGHT, MIDNIGHT + DAY)
    assert not are_single_windows([event.extra])


@pytest.mark.integration
def test_second_run_changes_no_byte(task_setup: TaskSetup) -> None:
    """Also of the descriptor."""
    land_day(task_setup, 0)
    before = task_setup.tree()
    summary = land_day(task_setup, 0)
    assert (task_setup.tree(), summary["committed"]) == (before, False)


@pytest.mark.integration
def test_cut_over_is_by_default_the_start_of_version_2(task_setup: TaskSetup) -> None:
    """The configured one; the overlap is a day."""
    task_setup.land(**day(0), history="stitched")
    assert _descriptor(task_setup) == {
        "account_id": task_setup.fake.settings.account_ids[0],
        "cut_over_at": "2026-03-10T00:00:00Z",
        "filters": [],
        "overlap_seconds": 86400,
        "stitching_version": 1,
    }
    assert not (task_setup.destination / "v1").exists()


@pytest.mark.integration
def test_longer_overlap_lands_what_was_left_out(task_setup: TaskSetup) -> None:
    """The descriptor has the longer one; a run with the shorter one is refused from then on."""
    for number in range(5):
        land_day(task_setup, number)
    for number in range(5):
        land_day(task_setup, number, overlap=timedelta.max)
    assert committed_ids(task_setup.destination / "v1") == true_ids(task_setup, "v1", MIDNIGHT, MIDNIGHT + 5 * DAY)
    assert _descriptor(task_setup)["overlap_seconds"] is None
    _refused(task_setup, CommitConflictError, "longer, but not shorter", **day(5), **STITCHED)


@pytest.mark.integration
def test_retry_after_version_2_failed_lands_the_rest(task_setup: TaskSetup) -> None:
    """Version 1 stays committed and gets no other generation."""
    task_setup.misbehave("status=403,version=v2")
    with pytest.raises(AirflowFailException):
        land_day(task_setup, 0)
    assert len(committed_ids(task_setup.destination / "v1")) == 300
    assert not _windows(task_setup, "v2")
    task_setup.misbehave()
    summary = land_day(task_setup, 0)
    assert {version: one["committed"] for version, one in summary["streams"].items()} == {"v1": False, "v2": True}


@pytest.mark.integration
def test_version_2_without_records_while_version_1_has_some_is_a_warning(
    task_setup: TaskSetup, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """The window lands, and the log says what may be wrong."""
    caplog.set_level("INFO")
    land_day(task_setup, 0)
    assert "none after the cut-over" not in _said(caplog, capsys)
    task_setup.misbehave("no_records,version=v2")
    summary = land_day(task_setup, 1)
    assert summary["streams"]["v2"]["record_count"] == 0
    assert "version 2 has none after the cut-over" in _said(caplog, capsys)


@pytest.mark.integration
def test_divided_run_warns_of_the_first_windows_that_version_2_lacks(
    task_setup: TaskSetup, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also if version 2 has records of later windows of the same run."""
    caplog.set_level("INFO")
    task_setup.misbehave("no_records,version=v2")
    task_setup.land(**day(0), **STITCHED)
    task_setup.misbehave()
    bounds = {"window_start": MIDNIGHT - DAY, "window_end": MIDNIGHT + 4 * DAY, "partition_by": "day"}
    _said(caplog, capsys)
    caplog.clear()
    summary = task_setup.land(**bounds, **STITCHED)
    assert summary["streams"]["v2"]["record_count"] > 0
    assert "[2026-10-20T06:00:00Z, 2026-10-21T00:00:00Z), and version 2 has none" in _said(caplog, capsys)


@pytest.mark.integration
def test_unsettled_window_is_awaited_before_anything_is_written(task_setup: TaskSetup) -> None:
    """Also the descriptor; after the wait both versions land."""
    today = task_setup.clock.now().replace(hour=0)
    arguments = {**STITCHED, "window_start": today, "window_end": today + DAY, "deferrable": True}
    with pytest.raises(TaskDeferred):
        task_setup.operator(**arguments, overlap=timedelta.max).execute({})
    assert task_setup.tree() == {}
    task_setup.clock.sleep(DAY.total_seconds() * 2)
    summary = task_setup.operator(**arguments, overlap=timedelta.max).execute_settled({}, {"settled": True})
    assert set(summary["streams"]) == {"v1", "v2"}


@pytest.mark.integration
def test_divided_run_commits_what_is_settled_in_both_versions_before_it_waits(task_setup: TaskSetup) -> None:
    """The last day of each follows after the wait."""
    today = task_setup.clock.now().replace(hour=0)
    bounds = {"window_start": today - 2 * DAY, "window_end": today + DAY, "partition_by": "day"}
    arguments = {**STITCHED, **bounds, "overlap": timedelta.max, "deferrable": True}
    with pytest.raises(TaskDeferred):
        task_setup.operator(**arguments).execute({})
    assert [len(_windows(task_setup, version)) for version in ("v1", "v2")] == [2, 2]
    task_setup.clock.sleep(DAY.total_seconds())
    summary = task_setup.operator(**arguments).execute_settled({}, {"settled": True})
    assert (summary["window_count"], summary["committed_count"]) == (6, 2)


def _refused(task_setup: TaskSetup, kind: type[Exception], said: str, **arguments: Any) -> None:
    """Runs the operator, which has to fail for good with this error, without a request and a written byte."""
    before, request_count = task_setup.tree(), len(task_setup.fake.requests)
    # Each sentence of an error has a line of its own.
    with pytest.raises(AirflowFailException, match=f"(?s){said}") as caught:
        task_setup.operator(**arguments).execute({})
    assert isinstance(caught.value.__context__, kind)
    assert (task_setup.tree(), len(task_setup.fake.requests)) == (before, request_count)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cut_over": CUT_OVER + DAY}, "cut_over 2026-10-20T06:00:00Z, not 2026-10-21T06:00:00Z"),
        ({"overlap": HOUR}, "overlap 1 day, 0:00:00, not 1:00:00"),
        ({"account_id": "f" * 32}, "account .* not f{32}"),
        ({"filters": {"zone_name": "example.com"}}, "filters none, not zone_name=example.com"),
    ],
)
def test_arguments_of_another_history_are_refused(task_setup: TaskSetup, changes: dict[str, Any], said: str) -> None:
    """Before the first request; the error names each difference and what to do."""
    land_day(task_setup, 0)
    _refused(task_setup, CommitConflictError, f"{said}.*use another destination", **{**day(1), **STITCHED, **changes})


@pytest.mark.integration
def test_destination_of_one_version_is_refused(task_setup: TaskSetup) -> None:
    """Its windows would not belong to either version of the history."""
    task_setup.land(**day(0))
    _refused(task_setup, CommitConflictError, "dataset of one version.*another destination", **day(1), **STITCHED)


@pytest.mark.integration
@pytest.mark.parametrize("content", [b"", b"{}", b'{"cut_over_at":"soon"}'])
def test_damaged_descriptor_is_refused(task_setup: TaskSetup, content: bytes) -> None:
    """What it stated is not guessed."""
    land_day(task_setup, 0)
    (task_setup.destination / "_stitched.json").write_bytes(content)
    _refused(task_setup, VerificationError, "_stitched.json.*Restore it", **day(1), **STITCHED)


@pytest.mark.integration
def test_removed_descriptor_is_created_again(task_setup: TaskSetup) -> None:
    """From the arguments, with the same bytes."""
    land_day(task_setup, 0)
    descriptor = task_setup.destination / "_stitched.json"
    content = descriptor.read_bytes()
    descriptor.unlink()
    land_day(task_setup, 1)
    assert descriptor.read_bytes() == content


@pytest.mark.integration
def test_folder_with_the_log_of_another_account_is_refused(task_setup: TaskSetup) -> None:
    """Although the run lands into the folder of the other version only."""
    land_day(task_setup, -2)
    (task_setup.destination / "_stitched.json").unlink()
    other = {**STITCHED, "account_id": "f" * 32}
    _refused(task_setup, CommitConflictError, "v1/_dataset.json.*not v1, account f", **day(3), **other)


@pytest.mark.integration
def test_cut_over_before_the_history_of_version_2_is_refused(task_setup: TaskSetup) -> None:
    """Its windows would be empty and look like quiet ones."""
    _refused(task_setup, ConfigurationError, "v2_history_start", **day(0), history="stitched", cut_over="2026-03-09")


@pytest.mark.integration
def test_connection_of_an_organization_is_refused(task_setup: TaskSetup) -> None:
    """Only an account has both versions."""
    task_setup.connect(extra={"organization_id": "0123456789"})
    _refused(task_setup, ConfigurationError, "account scope needs account_id", **day(0), **STITCHED)


@pytest.mark.integration
def test_template_that_renders_to_other_filters_is_refused(task_setup: TaskSetup) -> None:
    """A filter with different words in the two versions would land a part of the actions of each."""
    operator = task_setup.operator(**day(0), **STITCHED, filters="{{ params.filters }}")
    operator.filters = {"action_type": "login"}
    with pytest.raises(AirflowFailException, match="does not select the same"):
        operator.execute({})
    assert (task_setup.tree(), task_setup.fake.requests) == ({}, [])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"history": "v1"}, "history is 'v1'.*'stitched'"),
        ({"cut_over": CUT_OVER}, "without history"),
        ({"overlap": DAY}, "without history"),
        ({**STITCHED, "overlap": timedelta(0)}, "at least 1:00:00"),
        ({**STITCHED, "api_version": "v1"}, "api_version is given with history"),
        ({**STITCHED, "replace": True}, "replace is given with history"),
        ({**STITCHED, "scope": "user"}, "log of an account"),
        ({**STITCHED, "scope": "organization"}, "log of an account"),
        ({**STITCHED, "organization_id": "0123456789"}, "log of an account"),
        ({**STITCHED, "filters": {"action_type": "login"}}, "'action_type' does not select the same"),
        ({**STITCHED, "filters": {"actor": {"email": ["a@example.com", "b@example.com"]}}}, "one value"),
    ],
)
def test_arguments_that_do_not_go_together_fail_at_parse(
    task_setup: TaskSetup, arguments: dict[str, Any], said: str
) -> None:
    """Before any run."""
    with pytest.raises(ConfigurationError, match=said):
        task_setup.operator(**arguments)


def test_shared_filters_pass_at_parse_also_as_templates(task_setup: TaskSetup) -> None:
    """They are checked again in the run."""
    task_setup.operator(**STITCHED, filters={"actor": {"email": "{{ params.who }}"}, "zone.name": "example.com"})


@pytest.mark.integration
def test_lineage_has_the_log_and_the_folder_of_each_version(task_setup: TaskSetup) -> None:
    """With the rows that the run wrote."""
    operator = task_setup.operator(**day(0), **STITCHED)
    operator.execute({})
    lineage = operator.get_openlineage_facets_on_complete(None)
    assert [one.name.rpartition("/")[2] for one in lineage.outputs] == ["v1", "v2"]
    assert [one.name.rpartition("/")[2] for one in lineage.inputs] == ["audit_logs", "audit"]
    v2_count = len(true_ids(task_setup, "v2", CUT_OVER, MIDNIGHT + DAY))
    assert [one.outputFacets["outputStatistics"].rowCount for one in lineage.outputs] == [300, v2_count]


@pytest.mark.integration
@pytest.mark.parametrize("more", [{}, {"partition_by": "day"}], ids=["one window", "range"])
def test_root_of_stitched_history_refuses_a_task_without_history(task_setup: TaskSetup, more: dict[str, Any]) -> None:
    """The task lands no window beside the folders of the versions, and the error says how to land it."""
    land_day(task_setup, 0)
    before = task_setup.tree()
    with pytest.raises(AirflowFailException, match=r"history='stitched'.*into the folder v1/"):
        task_setup.land(**more)
    assert task_setup.tree() == before
