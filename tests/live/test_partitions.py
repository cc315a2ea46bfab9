"""In the partitioned examples, a key reaches every consumer, and 24 hourly partitions make one sealed day."""

from __future__ import annotations

from datetime import timedelta

import pytest

from harness.landed import landed_windows
from tests.live.calendar_days import days_ago
from tests.live.live_airflow import LiveAirflow

LANDING, CHECK = "cloudflare_audit_partitions", "cloudflare_audit_partition_check"
HOURLY, SEAL = "cloudflare_audit_hourly", "cloudflare_audit_day_seal"
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


def keys(live: LiveAirflow, folder: str) -> list[str]:
    """Returns the partition keys of the events of a destination's asset, sorted."""
    return sorted(event["partition_key"] for event in live.events((live.home.landed / folder).as_uri()))


@pytest.mark.since("3.2.0")
def test_consumer_runs_for_the_partition_that_landed(live: LiveAirflow) -> None:
    """A landed day's event has its key, and the consumer verifies exactly that day."""
    day = days_ago(11)
    live.unpause(LANDING, CHECK)
    live.backfill(LANDING, day, day)
    (landed,) = live.await_runs(LANDING)
    assert landed["state"] == "success"
    (window,) = landed_windows(live.home.landed / "partitions")
    key = window.day
    assert keys(live, "partitions") == [key] == [landed["partition_key"]]
    (checked,) = live.await_runs(CHECK)
    assert (checked["state"], checked["run_type"], checked["partition_key"]) == ("success", "asset_triggered", key)
    verified = live.xcom(CHECK, checked["dag_run_id"], "verify_partition")
    assert (verified["window_count"], verified["severe_count"]) == (1, 0)
    assert verified["record_count"] == window.record_count > 0


@pytest.mark.since("3.3.0")
def test_day_is_sealed_when_its_last_hour_has_landed(live: LiveAirflow) -> None:
    """The 24th hour starts one run for the day, which seals and verifies 24 windows; 23 hours start none."""
    day = days_ago(12)
    live.unpause(HOURLY, SEAL)
    live.backfill(HOURLY, day, day + 22 * HOUR, max_active_runs=4)
    assert {run["state"] for run in live.await_runs(HOURLY, 23)} == {"success"}
    assert len(keys(live, "hourly")) == 23
    assert live.runs(SEAL) == []
    live.backfill(HOURLY, day + 23 * HOUR, day + 23 * HOUR)
    assert {run["state"] for run in live.await_runs(HOURLY, 24)} == {"success"}
    (sealed,) = live.await_runs(SEAL)
    assert (sealed["state"], sealed["partition_key"]) == ("success", day.date().isoformat())
    assert keys(live, "hourly") == [(day + count * HOUR).strftime("%Y-%m-%dT%H:%M:%S") for count in range(24)]
    (created,) = live.xcom(SEAL, sealed["dag_run_id"], "seal_day")["created"]
    assert created["day"] == day.date().isoformat()
    verified = live.xcom(SEAL, sealed["dag_run_id"], "verify_day")
    assert (verified["window_count"], verified["seal_count"], verified["severe_count"]) == (24, 1, 0)
    assert verified["record_count"] == len(live.truth_ids(day, day + DAY)) > 0
