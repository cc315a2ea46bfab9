"""One DAG for each way in which a run can, or cannot, state its window; `tests/live/test_windows.py` starts them.

Invariant: it imports only Airflow and the provider, and each run lands in its own folder.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from typing import Any

import pendulum
from airflow import __version__
from airflow.sdk import DAG, Asset
from airflow.timetables.interval import CronDataIntervalTimetable
from airflow.timetables.trigger import CronTriggerTimetable

from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator

DAY = timedelta(days=1)
MIDNIGHT = "0 0 * * *"
BERLIN = "Europe/Berlin"
WITH_OFFSET = "%Y-%m-%dT%H:%M:%S%z"
HOURLY = "%Y-%m-%dT%H"


def asset_for(dag_id: str) -> Asset:
    """Returns the asset whose events start a DAG."""
    return Asset(uri=f"x-test://window/{dag_id}", name=f"window-{dag_id}")


def midnight(name: str, timezone: str) -> pendulum.DateTime:
    """Returns the first instant of the day in a variable."""
    return pendulum.instance(datetime.fromisoformat(os.environ[name]), tz=timezone)


TODAY = midnight("AUDIT_TODAY", "UTC")
SPRING, AUTUMN = midnight("AUDIT_SPRING", BERLIN), midnight("AUDIT_AUTUMN", BERLIN)


def landing_dag(dag_id: str, schedule: Any, *, on: datetime | None = None, **operator: Any) -> None:
    """Makes a DAG of one task; with `on`, the scheduler creates exactly the run of that date, otherwise none."""
    start, end = (on, on) if on else (TODAY - 40 * DAY, None)
    retries = {"retries": 3, "retry_delay": timedelta(seconds=1)}
    with DAG(
        dag_id, schedule=schedule, start_date=start, end_date=end, catchup=on is not None, default_args=retries
    ) as dag:
        CloudflareAuditLogsToObjectStorageOperator(
            task_id="land",
            destination=f"{os.environ['AUDIT_LANDED']}/{dag_id}/{{{{ run_id | replace('+', '') | replace(':', '') }}}}",
            settle_delay=timedelta(0),
            **operator,
        )
    globals()[dag_id] = dag


landing_dag("interval_scheduled", CronDataIntervalTimetable(MIDNIGHT, timezone="UTC"), on=TODAY - 3 * DAY)
landing_dag("interval_asked_for", CronDataIntervalTimetable(MIDNIGHT, timezone="UTC"))
landing_dag("interval_tested", CronDataIntervalTimetable(MIDNIGHT, timezone="UTC"))
# A separate DAG: `dag.test()` without a date clears every task that the DAG has run.
landing_dag("interval_tested_undated", CronDataIntervalTimetable(MIDNIGHT, timezone="UTC"))
landing_dag(
    "spring_scheduled",
    CronDataIntervalTimetable(MIDNIGHT, timezone=BERLIN),
    on=SPRING,
    timezone=BERLIN,
)
landing_dag(
    "autumn_scheduled",
    CronDataIntervalTimetable(MIDNIGHT, timezone=BERLIN),
    on=AUTUMN,
    timezone=BERLIN,
)
landing_dag(
    "autumn_by_length",
    CronTriggerTimetable(MIDNIGHT, timezone=BERLIN),
    on=AUTUMN.add(days=1),
    timezone=BERLIN,
    window_length=DAY,
)
landing_dag("daily_scheduled", "@daily", on=TODAY - 3 * DAY)
landing_dag("daily_asked_for", "@daily")
landing_dag("daily_tested", "@daily")
landing_dag("daily_with_length", "@daily", window_length=DAY)
landing_dag("trigger_with_interval", CronTriggerTimetable(MIDNIGHT, timezone="UTC", interval=DAY))
landing_dag("nothing_said", None)
landing_dag("nothing_tested", None)
landing_dag("start_and_end", None, window_start="{{ dag_run.conf.start }}", window_end="{{ dag_run.conf.end }}")
landing_dag("start_and_length", None, window_start="{{ dag_run.conf.start }}", window_length=DAY)
landing_dag("end_and_length", None, window_end="{{ dag_run.conf.end }}", window_length=DAY)
landing_dag("by_asset", [asset_for("by_asset")])
landing_dag(
    "by_asset_that_says",
    [asset_for("by_asset_that_says")],
    window_start="{{ (triggering_asset_events.values() | first | first).extra.day }}",
    window_length=DAY,
)

# Airflow 3.2 and later have partitioned timetables.
if [int(part) for part in __version__.split(".")[:2]] >= [3, 2]:
    from airflow.sdk import CronPartitionTimetable, PartitionedAssetTimetable

    def the_one_before(cron: str, timezone: str, key_format: str) -> CronPartitionTimetable:
        """Returns, for each time of a cron expression, the partition that starts at the previous time."""
        return CronPartitionTimetable(cron, timezone=timezone, run_offset=-1, key_format=key_format)

    landing_dag("partition_scheduled", the_one_before(MIDNIGHT, "UTC", "%Y-%m-%d"), on=TODAY - 3 * DAY)
    landing_dag("partition_asked_for", the_one_before(MIDNIGHT, "UTC", "%Y-%m-%d"))
    landing_dag("partition_tested", the_one_before(MIDNIGHT, "UTC", "%Y-%m-%d"))
    landing_dag(
        "partition_of_autumn",
        the_one_before(MIDNIGHT, BERLIN, WITH_OFFSET),
        on=AUTUMN.add(days=1),
        timezone=BERLIN,
        partition_key_format=WITH_OFFSET,
    )
    landing_dag(
        "partition_of_an_hour",
        the_one_before("0 * * * *", "UTC", HOURLY),
        on=TODAY - 3 * DAY,
        partition_key_format=HOURLY,
        window_length=timedelta(hours=1),
    )
    landing_dag("partition_by_asset", PartitionedAssetTimetable(assets=asset_for("partition_by_asset")))
