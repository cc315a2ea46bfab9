"""The deadline of the example DAG alerts when a day is not committed in time, also if no DAG has tried to land it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest

from airflow_audit_provider.cli.__main__ import main
from tests.live.calendar_days import days_ago
from tests.live.live_airflow import WITHIN_SECONDS, LiveAirflow

pytestmark = [pytest.mark.live, pytest.mark.since("3.1.8")]
DAG_ID, TASK_ID = "cloudflare_audit_deadline", "await_commit"
BEHIND = days_ago(31)


class Watch(NamedTuple):
    """A run for a day that nobody has landed."""

    live: LiveAirflow
    run_id: str

    def alerts(self, run_id: str) -> list[str]:
        """Returns the lines in which the triggerer reports that a run missed its deadline."""
        log = (self.live.instance.folders.logs / "triggerer.log").read_text()
        return [line for line in log.splitlines() if "is behind" in line and run_id in line]

    def state(self, run_id: str) -> str:
        """Returns the state of the task of a run."""
        return str(self.live.tasks(DAG_ID, run_id)[0]["state"])


@pytest.fixture(scope="module")
def watch(live: LiveAirflow) -> Watch:
    """Triggers a run for a day of last month."""
    live.unpause(DAG_ID)
    # The run of a manual trigger covers the last day that ended before.
    return Watch(live, live.trigger(DAG_ID, logical_date=BEHIND + timedelta(days=1)))


def land(live: LiveAirflow, start: datetime) -> None:
    """Lands a day without Airflow."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLOUDFLARE_API_TOKEN", live.account.token)
        patch.setenv("CLOUDFLARE_BASE_URL", str(live.account.base_url))
        bounds = ["--start", start.isoformat(), "--end", (start + timedelta(days=1)).isoformat()]
        destination = str(live.home.landed / "jsonl")
        assert main(["pull", destination, "--account-id", live.account.account_id, *bounds, "--quiet"]) == 0


def test_day_that_nobody_landed_is_alerted_once(watch: Watch) -> None:
    """The task waits for a retry, the run does not end, and the triggerer reports the missed deadline."""
    live, run_id = watch.live, watch.run_id
    live.instance.wait(lambda: bool(watch.alerts(run_id)), WITHIN_SECONDS, "the alert")
    live.instance.wait(lambda: watch.state(run_id) == "up_for_retry", WITHIN_SECONDS, "the task to fail")
    assert "is not committed in" in live.log(live.tasks(DAG_ID, run_id)[0])
    assert len(watch.alerts(run_id)) == 1


def test_run_ends_when_the_day_is_landed(watch: Watch) -> None:
    """After another program has landed the day, the next attempt succeeds and no second alert comes."""
    live, run_id = watch.live, watch.run_id
    land(live, BEHIND)
    # The next attempt, which is due in half an hour, is made at once.
    again = {"dag_run_id": run_id, "dry_run": False, "only_failed": False}
    live.ask(f"dags/{DAG_ID}/clearTaskInstances", method="POST", body=again)
    assert live.await_run(DAG_ID, run_id) == "success"
    assert len(watch.alerts(run_id)) == 1


def test_day_in_time_is_not_alerted(watch: Watch) -> None:
    """For yesterday, which is landed before the deadline, the run succeeds without an alert."""
    live = watch.live
    land(live, days_ago(1))
    run_id = live.trigger(DAG_ID, logical_date=datetime.now(UTC))
    assert live.await_run(DAG_ID, run_id) == "success"
    assert watch.alerts(run_id) == []
