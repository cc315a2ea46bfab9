"""Many days land in one task of a real scheduler, and Airflow accepts the backfill that a plan prints."""

from __future__ import annotations

import re
import shlex
from datetime import datetime, timedelta

import pytest

from airflow_audit_provider.cli.__main__ import main
from harness.landed import landed_windows, manifest_differences
from tests.live.calendar_days import days_ago
from tests.live.live_airflow import LiveAirflow

HISTORY, BACKFILL, LAND = "cloudflare_audit_history", "cloudflare_audit_backfill", "land_audit_history"
DAY = timedelta(days=1)
DATE = r"\d{4}-\d\d-\d\d"
# Days of this file's own, because other tests use the same destination.
FIRST, BEFORE = days_ago(45), days_ago(40)


def _days(first: datetime, before: datetime) -> list[str]:
    return [f"{first + number * DAY:%Y-%m-%d}" for number in range((before - first) // DAY)]


def _land(live: LiveAirflow, first: datetime, before: datetime) -> dict[str, object]:
    """Lands a range by the example DAG; returns the XCom of its task."""
    live.unpause(HISTORY)
    conf = {"first_day": f"{first:%Y-%m-%d}", "before_day": f"{before:%Y-%m-%d}"}
    run_id = live.trigger(HISTORY, conf=conf)
    assert live.await_run(HISTORY, run_id) == "success", live.log(live.tasks(HISTORY, run_id)[0])
    summary: dict[str, object] = live.xcom(HISTORY, run_id, LAND)
    return summary


def test_range_lands_each_day_in_one_task_and_a_longer_one_only_the_rest(live: LiveAirflow) -> None:
    """Three days are windows of their own in the destination and the XCom; a run of five days adds the other two."""
    short = _land(live, FIRST, FIRST + 3 * DAY)
    assert (short["window_count"], short["committed_count"]) == (3, 3)
    long = _land(live, FIRST, BEFORE)
    assert (long["window_count"], long["committed_count"]) == (5, 2)
    assert long["record_count"] == len(live.truth_ids(FIRST, BEFORE))
    windows = {window.day: window for window in landed_windows(live.home.landed / "parquet")}
    for number, day in enumerate(_days(FIRST, BEFORE)):
        start = FIRST + number * DAY
        assert windows[day].record_count == len(live.truth_ids(start, start + DAY))
        assert list(manifest_differences(windows[day])) == []


def test_airflow_accepts_the_backfill_that_a_plan_prints(
    live: LiveAirflow, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A dry run of the printed command lists exactly the missing days, which are those around the committed ones."""
    first, before = FIRST - 2 * DAY, BEFORE + 3 * DAY
    _land(live, FIRST, BEFORE)
    live.instance.wait(lambda: bool(live.ask(f"dags/{BACKFILL}")), 300.0, f"{BACKFILL} to be parsed")
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", live.account.token)
    monkeypatch.setenv("CLOUDFLARE_BASE_URL", str(live.account.base_url))
    bounds = ["--start", f"{first:%Y-%m-%d}", "--end", f"{before:%Y-%m-%d}"]
    assert main(["plan", str(live.home.landed / "parquet"), "--account-id", live.account.account_id, *bounds]) == 0
    commands = [line for line in capsys.readouterr().out.splitlines() if line.startswith("airflow backfill create")]
    assert len(commands) == 2
    assert _dry_run(live, commands[0]) == _days(first, FIRST)
    # A command of Airflow takes ten seconds of CPU to start. The other one differs in its dates alone.
    bounds_of = [re.findall(DATE, command) for command in commands]
    assert [[days[0], days[-1]] for days in (_days(first, FIRST), _days(BEFORE, before))] == bounds_of
    assert re.sub(DATE, "", commands[0]) == re.sub(DATE, "", commands[1])


def _dry_run(live: LiveAirflow, command: str) -> list[str]:
    """Runs a printed command with --dry-run; returns the dates of the runs that Airflow would create."""
    live.instance.command("dry-run", *shlex.split(command)[1:], "--dry-run")
    _, _, attempted = (live.home.logs / "dry-run.log").read_text().partition("to be attempted")
    return sorted(set(re.findall(DATE, attempted)))
