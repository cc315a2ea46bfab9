"""The deadline of the example DAG alerts when a day is not committed in time, also if no DAG has tried to land it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest

from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.server import FakeServer
from airflow_audit_provider.testing.settings import Settings, TokenKind
from tests.live.calendar_days import days_ago
from tests.live.command_line import pull
from tests.live.live_airflow import WITHIN_SECONDS, LiveAirflow
from tests.pipelines.pull.landing import record_at

pytestmark = [pytest.mark.live, pytest.mark.since("3.1.8")]
DAG_ID, TASK_ID = "cloudflare_audit_deadline", "await_commit"
VALID = TokenKind.VALID
# Beyond the 40 days whose gaps tests/live/test_gaps.py makes in the same destination.
BEHIND, EARLY = days_ago(45), days_ago(47)


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
    """Triggers a run for a day of some weeks ago."""
    live.unpause(DAG_ID)
    # The run of a manual trigger covers the last day that ended before.
    return Watch(live, live.trigger(DAG_ID, logical_date=BEHIND + timedelta(days=1)))


def land(live: LiveAirflow, start: datetime, base_url: str | None = None) -> None:
    """Lands a day without Airflow, as the account or another server shows it."""
    end = start + timedelta(days=1)
    pull(live, live.home.landed / "jsonl", start, end, "--reread-committed", base_url=base_url)


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


def test_day_that_was_landed_in_time_and_lacks_its_last_records_is_alerted(watch: Watch) -> None:
    """A committed day whose newest record is of the morning misses the deadline, until its late records are added."""
    live, day = watch.live, EARLY
    settings = Settings(records_per_day=0, account_ids=(live.account.account_id,), tokens={live.account.token: VALID})
    morning = FakeCloudflare(lambda: datetime.now(UTC), settings)
    when = (day + timedelta(hours=9)).isoformat().replace("+00:00", "Z")
    morning.add(record_at(when, "morning"), scope=f"accounts/{live.account.account_id}")
    with FakeServer(morning) as served:
        land(live, day, served.base_url)
    run_id = live.trigger(DAG_ID, logical_date=day + timedelta(days=1))
    live.instance.wait(lambda: bool(watch.alerts(run_id)), WITHIN_SECONDS, "the alert")
    live.instance.wait(lambda: watch.state(run_id) == "up_for_retry", WITHIN_SECONDS, "the task to fail")
    assert "so records are late or nothing happened" in live.log(live.tasks(DAG_ID, run_id)[0])
    land(live, day)
    again = {"dag_run_id": run_id, "dry_run": False, "only_failed": False}
    live.ask(f"dags/{DAG_ID}/clearTaskInstances", method="POST", body=again)
    assert live.await_run(DAG_ID, run_id) == "success"
    assert len(watch.alerts(run_id)) == 1
