"""In the partitioned examples, a key reaches every consumer, and 24 hourly partitions make one sealed day."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from harness.landed import landed_windows
from tests.live.calendar_days import days_ago
from tests.live.command_line import pull
from tests.live.live_airflow import LiveAirflow

LANDING, CHECK = "cloudflare_audit_partitions", "cloudflare_audit_partition_check"
HOURLY, SEAL = "cloudflare_audit_hourly", "cloudflare_audit_day_seal"
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
HOUR_KEY = "%Y-%m-%dT%H:%M:%S"


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


# How many of the 24 hours real tasks land. The command line lands the other ones, and their events are created by REST.
@pytest.mark.since("3.3.0")
@pytest.mark.parametrize(
    ("days_before", "task_count"), [(12, 2), pytest.param(13, 24, marks=pytest.mark.nightly)], ids=["two", "all"]
)
def test_day_is_sealed_when_its_last_hour_has_landed(live: LiveAirflow, days_before: int, task_count: int) -> None:
    """The 24th hour starts one run for the day, which seals and verifies 24 windows; 23 hours start none."""
    day = days_ago(days_before)
    first, last = day + (24 - task_count) * HOUR, day + 23 * HOUR
    live.unpause(HOURLY, SEAL)
    runs_before, sealed_before = len(live.runs(HOURLY)), len(live.runs(SEAL))
    land_hours(live, day, first)
    live.backfill(HOURLY, first, last - HOUR, max_active_runs=4)
    assert {run["state"] for run in live.await_runs(HOURLY, runs_before + task_count - 1)} == {"success"}
    assert hours_of(live, day) == [(day + count * HOUR).strftime(HOUR_KEY) for count in range(23)]
    assert len(live.runs(SEAL)) == sealed_before
    live.backfill(HOURLY, last, last)
    assert {run["state"] for run in live.await_runs(HOURLY, runs_before + task_count)} == {"success"}
    (sealed,) = live.await_runs(SEAL, sealed_before + 1)[sealed_before:]
    assert (sealed["state"], sealed["partition_key"]) == ("success", day.date().isoformat())
    assert hours_of(live, day) == [(day + count * HOUR).strftime(HOUR_KEY) for count in range(24)]
    (created,) = live.xcom(SEAL, sealed["dag_run_id"], "seal_day")["created"]
    assert created["day"] == day.date().isoformat()
    verified = live.xcom(SEAL, sealed["dag_run_id"], "verify_day")
    assert (verified["window_count"], verified["seal_count"], verified["severe_count"]) == (24, sealed_before + 1, 0)
    assert verified["record_count"] == len(live.truth_ids(day, day + DAY)) > 0


def land_hours(live: LiveAirflow, start: datetime, end: datetime) -> None:
    """Lands each hour of a range without a task, and creates the asset event that the task would have created."""
    if start == end:
        return
    folder = live.home.landed / "hourly"
    pull(live, folder, start, end, "--partition-by", "hour")
    for count in range((end - start) // HOUR):
        live.emit(folder.as_uri(), partition_key=(start + count * HOUR).strftime(HOUR_KEY))


def hours_of(live: LiveAirflow, day: datetime) -> list[str]:
    """Returns the partition keys of the events of a day."""
    return [key for key in keys(live, "hourly") if key.startswith(day.date().isoformat())]
