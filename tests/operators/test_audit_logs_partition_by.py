"""The land operator divides a run's window into hours, days or months, and commits each as a window of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred

from airflow_audit_provider._airflow.compat import AirflowRescheduleException
from airflow_audit_provider._airflow.observability.lineage import Written
from airflow_audit_provider.assets.audit_logs import audit_log_asset
from airflow_audit_provider.core.warehouse.load_plan import are_single_windows, event_windows
from airflow_audit_provider.exceptions import ConfigurationError, WindowNotSettledError
from tests.operators.task_setup import START, TaskSetup
from tests.pipelines.pull.landing import record_at

DAY = timedelta(days=1)
WEEK: dict[str, Any] = {"window_start": START - 6 * DAY, "window_end": START + DAY, "partition_by": "day"}
REQUIRED = {"window_start", "window_end", "record_count", "part_count", "manifest_uri"}


def _said(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> str:
    """Returns what was logged: Airflow's versions log by structlog to the terminal, or by the standard library."""
    return capsys.readouterr().out + "\n".join(record.getMessage() for record in caplog.records)


@pytest.mark.integration
def test_week_lands_as_seven_days(
    task_setup: TaskSetup, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """The summary has the sums, the newest manifest and each window; the log has a line for each."""
    caplog.set_level("INFO")
    operator = task_setup.operator(**WEEK)
    summary = operator.execute({})
    assert summary.keys() >= REQUIRED
    assert (summary["window_start"], summary["window_end"]) == (
        (START - 6 * DAY).isoformat(),
        (START + DAY).isoformat(),
    )
    assert (summary["record_count"], summary["window_count"], summary["committed_count"]) == (2100, 7, 7)
    assert summary["manifest_uri"].endswith("dt=2026-10-26/20261026T000000Z-20261027T000000Z.g0001.json")
    assert operator.manifest_uri == summary["manifest_uri"]
    assert len(summary["windows"]) == 7
    assert summary["windows"][0][:2] == ["2026-10-20T00:00:00+00:00", 300]
    assert json.loads(json.dumps(summary)) == summary
    said = _said(caplog, capsys)
    assert "Committed 300 records (" in said
    assert "1 part) for 2026-10-20 to " in said
    assert "Committed 2,100 records in 7 windows; " in said
    assert "::group::fetch" not in said


@pytest.mark.integration
def test_second_run_changes_nothing_and_requests_nothing(task_setup: TaskSetup) -> None:
    """The summary still has the sums of the whole range."""
    first = task_setup.operator(**WEEK).execute({})
    before, request_count = task_setup.tree(), len(task_setup.fake.requests)
    second = task_setup.operator(**WEEK).execute({})
    assert (task_setup.tree(), len(task_setup.fake.requests)) == (before, request_count)
    assert (second["committed"], second["committed_count"], second["windows"]) == (False, 0, [])
    assert {name: second[name] for name in REQUIRED} == {name: first[name] for name in REQUIRED}


@pytest.mark.integration
def test_late_records_are_added_on_request(task_setup: TaskSetup) -> None:
    """Without it, committed days are not read."""
    task_setup.operator(**WEEK).execute({})
    task_setup.fake.add(record_at("2026-10-22T03:00:00Z", "late-one"))
    assert task_setup.operator(**WEEK).execute({})["committed_count"] == 0
    summary = task_setup.operator(**WEEK, reread_committed=True).execute({})
    assert (summary["committed_count"], summary["added_count"], summary["record_count"]) == (1, 1, 2101)


@pytest.mark.integration
def test_lookback_reads_the_days_before_the_range(task_setup: TaskSetup) -> None:
    """Its figures are added to the summary."""
    task_setup.land(window_start=START - 7 * DAY, window_end=START - 6 * DAY)
    task_setup.fake.add(record_at("2026-10-19T03:00:00Z", "late-one"))
    summary = task_setup.operator(**WEEK, lookback=DAY).execute({})
    assert (summary["lookback_windows"], summary["late_count"]) == (1, 1)


@pytest.mark.integration
def test_asset_event_has_the_summary_and_loads_every_window(task_setup: TaskSetup) -> None:
    """A load that is triggered by the event takes all windows of the range, although none is the range."""
    asset = audit_log_asset(f"file://{task_setup.destination}")
    event = SimpleNamespace(extra=None)
    operator = task_setup.operator(**WEEK, outlets=[asset])
    summary = operator.execute({"outlet_events": {asset: event}})
    assert event.extra == {**summary, "summary": event.extra["summary"]}
    (window,) = event_windows([event.extra])
    assert (window.start, window.end) == (START - 6 * DAY, START + DAY)
    assert not are_single_windows([event.extra])


def _wait_for(task_setup: TaskSetup, context: Mapping[str, Any], **arguments: Any) -> dict[str, Any]:
    midnight = task_setup.clock.now().replace(hour=0)
    bounds = {"window_start": midnight - 2 * DAY, "window_end": midnight + DAY, "partition_by": "day"}
    return task_setup.operator(**bounds, **arguments).execute(context)


@pytest.mark.integration
def test_unsettled_end_is_awaited_after_the_rest_is_committed(task_setup: TaskSetup) -> None:
    """Deferred until the last window is settled; then only that window is read."""
    with pytest.raises(TaskDeferred) as deferred:
        _wait_for(task_setup, {}, deferrable=True)
    midnight = task_setup.clock.now().replace(hour=0)
    assert deferred.value.trigger.serialize()[1]["settled_at"] == (midnight + DAY + timedelta(minutes=15)).isoformat()
    assert len(list(task_setup.destination.glob("_manifests/*/*.json"))) == 2
    request_count = len(task_setup.fake.requests)
    task_setup.clock.sleep(DAY.total_seconds())
    bounds = {"window_start": midnight - 2 * DAY, "window_end": midnight + DAY, "partition_by": "day"}
    summary = task_setup.operator(**bounds, deferrable=True).execute_settled({}, {"settled": True})
    assert (summary["window_count"], summary["committed_count"]) == (3, 1)
    since = [dict(asked.params)["since"] for asked in task_setup.fake.requests[request_count:]]
    assert min(since) >= (midnight - 2 * DAY).strftime("%Y-%m-%d")


@pytest.mark.integration
def test_unsettled_end_reschedules_a_task_that_is_not_deferrable(task_setup: TaskSetup) -> None:
    """As one window does."""
    with pytest.raises(AirflowRescheduleException):
        _wait_for(task_setup, {"ti": SimpleNamespace(map_index=-1)}, deferrable=False)


@pytest.mark.integration
def test_unsettled_end_is_an_error_without_a_task_instance(task_setup: TaskSetup) -> None:
    """What is settled is committed."""
    with pytest.raises(WindowNotSettledError):
        _wait_for(task_setup, {})
    assert len(list(task_setup.destination.glob("_manifests/*/*.json"))) == 2


@pytest.mark.integration
def test_interval_of_a_month_lands_as_local_days(task_setup: TaskSetup) -> None:
    """Also the day of 25 hours; folders have the local dates."""
    from datetime import UTC, datetime

    interval = {
        "data_interval_start": datetime(2026, 9, 30, 22, tzinfo=UTC),
        "data_interval_end": datetime(2026, 10, 31, 23, tzinfo=UTC),
    }
    summary = task_setup.operator(partition_by="day", timezone="Europe/Berlin").execute(interval)
    assert summary["window_count"] == 31
    assert {path.name for path in task_setup.destination.glob("dt=*")} == {
        f"dt=2026-10-{day:02}" for day in range(1, 32)
    }


@pytest.mark.integration
def test_part_of_a_day_fails_the_task_at_once(task_setup: TaskSetup) -> None:
    """Nothing is requested or written."""
    bounds = {**WEEK, "window_end": START + timedelta(hours=12)}
    with pytest.raises(AirflowFailException, match="begins or ends inside one"):
        task_setup.operator(**bounds).execute({})
    assert not task_setup.fake.requests
    assert not task_setup.destination.exists()


@pytest.mark.integration
def test_failed_window_is_named_with_the_number_of_committed_ones(task_setup: TaskSetup) -> None:
    """The facts of the error say where the next attempt continues."""
    operator = task_setup.operator(**WEEK, odd_records="fail")
    task_setup.misbehave("status=403")
    with pytest.raises(AirflowFailException, match="0 of 7 windows are committed"):
        operator.execute({})


@pytest.mark.integration
def test_lineage_counts_what_all_windows_of_the_run_wrote(
    task_setup: TaskSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only the newest one."""
    written: list[Written] = []
    monkeypatch.setattr(
        "airflow_audit_provider._airflow.observability.lineage.lineage_of_written",
        lambda found, *_where: written.append(found),
    )
    operator = task_setup.operator(**WEEK)
    operator.execute({})
    operator.get_openlineage_facets_on_complete(None)
    ((_, record_count, size_bytes),) = written
    assert record_count == 2100
    assert size_bytes == sum(path.stat().st_size for path in task_setup.destination.glob("dt=*/*/*"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"partition_by": "week"}, "partition_by"),
        ({"partition_by": "day", "replace": True}, "replace"),
        ({"reread_committed": True}, "without partition_by"),
    ],
)
def test_arguments_that_do_not_go_together_fail_at_parse(
    task_setup: TaskSetup, arguments: dict[str, Any], said: str
) -> None:
    """Before any run."""
    with pytest.raises(ConfigurationError, match=said):
        task_setup.operator(**arguments)
