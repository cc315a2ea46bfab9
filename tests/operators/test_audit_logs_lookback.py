"""Tests that the operator adds late records of earlier windows if requested, and reports how many."""

from __future__ import annotations

import json
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_audit_provider.assets.audit_logs import audit_log_asset
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import ConfigurationError
from tests.operators.task_setup import START, WINDOW, TaskSetup
from tests.pipelines.pull.landing import record_at

DAY = timedelta(days=1)
LATE = record_at("2026-10-25T03:00:00Z", "late-one")


def _day(number: int) -> dict[str, Any]:
    return {"window_start": START + number * DAY, "window_end": START + (number + 1) * DAY}


@pytest.fixture
def past(task_setup: TaskSetup) -> TaskSetup:
    """Two landed days, with a late record in the second."""
    for number in (-2, -1):
        task_setup.land(**_day(number))
    task_setup.fake.add(LATE)
    return task_setup


@pytest.mark.integration
def test_late_records_land_with_the_next_window(
    past: TaskSetup, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """The summary counts the windows read again and their late records."""
    caplog.set_level("INFO")
    before = past.tree()
    summary = past.land(lookback=7 * DAY)
    assert (summary["record_count"], summary["window_start"]) == (300, START.isoformat())
    assert (summary["lookback_windows"], summary["late_count"]) == (2, 1)
    assert past.lines().count(LATE) == 1
    assert before.items() <= past.tree().items()
    # Airflow's versions log by structlog to the terminal, or by the standard library.
    said = capsys.readouterr().out + " ".join(record.getMessage() for record in caplog.records)
    assert "7 days" in said
    assert "Found 1 late record in 2 windows of the previous 7 days" in said


@pytest.mark.integration
def test_event_of_run_with_late_records_leads_to_both_windows(past: TaskSetup) -> None:
    """The coverage page links the run on the page of its own window, and of the window with the late record."""
    from airflow_audit_provider._airflow.coverage_page.runs import Event, matching

    asset = audit_log_asset(f"file://{past.destination}")
    written = SimpleNamespace(extra=None)
    past.operator(**WINDOW, lookback=7 * DAY, outlets=[asset]).execute({"outlet_events": {asset: written}})
    event = Event(json.loads(json.dumps(written.extra)), "dag", "run", "land", -1, START)
    windows = [TimeWindow(START + number * DAY, START + (number + 1) * DAY) for number in (-2, -1, 0)]
    found = [[run.wrote for run in matching([event], window, lambda dag_id: True)] for window in windows]
    assert found == [[], [2], [1]]


@pytest.mark.integration
@pytest.mark.parametrize(("first_run", "wrote"), [("own", [2]), ("other", [])])
def test_event_of_retry_leads_to_window_that_an_earlier_attempt_extended(
    past: TaskSetup, monkeypatch: pytest.MonkeyPatch, first_run: str, wrote: list[int]
) -> None:
    """A retry states what the failed attempt of its own run added, and nothing that another run added."""
    from airflow_audit_provider._airflow.coverage_page.runs import Event, matching

    past.fake.add(record_at("2026-10-24T03:00:00Z", "late-two"))
    part = past.destination / past.part_names()[-1]
    content = part.read_bytes()
    part.write_bytes(b"")
    with pytest.raises(AirflowFailException, match="differs from its manifest"):
        past.operator(**WINDOW, lookback=7 * DAY).execute({"ti": _instance(first_run, 1)})
    part.write_bytes(content)
    asset = audit_log_asset(f"file://{past.destination}")
    written = SimpleNamespace(extra=None)
    again = past.operator(**WINDOW, lookback=7 * DAY, outlets=[asset])
    again.execute({"outlet_events": {asset: written}, "ti": _instance("own", 2)})
    event = Event(json.loads(json.dumps(written.extra)), "dag", "run", "land", -1, START)
    window = TimeWindow(START - 2 * DAY, START - DAY)
    assert [run.wrote for run in matching([event], window, lambda dag_id: True)] == wrote
    assert written.extra["late_count"] == 1 + len(wrote)


def _instance(run_id: str, try_number: int) -> SimpleNamespace:
    return SimpleNamespace(dag_id="dag", task_id="land", run_id=run_id, map_index=-1, try_number=try_number)


@pytest.mark.integration
def test_second_run_with_lookback_changes_nothing(past: TaskSetup) -> None:
    """Writes no byte and counts no late record."""
    past.land(lookback=7 * DAY)
    before = past.tree()
    summary = past.land(lookback=7 * DAY)
    assert (summary["lookback_windows"], summary["late_count"], summary["committed"]) == (2, 0, False)
    assert past.tree() == before


@pytest.mark.integration
def test_default_reads_no_committed_window_again(past: TaskSetup) -> None:
    """Reads no committed window, and the summary has no lookback."""
    summary = past.land()
    assert not {"lookback_windows", "late_count"} & set(summary)
    assert LATE not in past.lines()


@pytest.mark.integration
def test_zero_lookback_reads_nothing_again(past: TaskSetup) -> None:
    """Reads nothing again and reports that."""
    summary = past.land(lookback=timedelta(0))
    assert (summary["lookback_windows"], summary["late_count"]) == (0, 0)


@pytest.mark.parametrize("lookback", [timedelta(seconds=-1), 7, "7 days", True])
def test_invalid_lookback_fails_at_dag_parse(task_setup: TaskSetup, lookback: Any) -> None:
    """Rejects a negative lookback and anything but a timedelta."""
    with pytest.raises(ConfigurationError, match="lookback"):
        task_setup.operator(lookback=lookback)


@pytest.mark.integration
def test_a_failed_lookback_fails_the_task_and_keeps_the_window(past: TaskSetup) -> None:
    """Fails for a damaged earlier window; the run's own window stays committed."""
    part = past.destination / past.part_names()[0]
    part.write_bytes(b"")
    with pytest.raises(AirflowFailException, match="differs from its manifest"):
        past.land(lookback=7 * DAY)
    assert past.land()["committed"] is False
