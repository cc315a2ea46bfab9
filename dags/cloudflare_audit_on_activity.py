"""Waits each hour for the creation of an API token, and then writes the records of this action in the hour.

The sensor defers, so the triggerer waits and no worker slot is occupied. Only actions at or after `since` count.
Records can appear after the end of their hour, so the sensor polls for 20 minutes. An hour without such an action is
skipped, not failed.

Settings: AUDIT_ACTIVITY_DESTINATION, AUDIT_ACTIVITY_TYPE (a version 1 action type, "token_create" by default).

The DAG has no `start_date`, so that a manual run may have any logical date: Airflow creates no task for a run before a
DAG's `start_date`, and marks the run successful.
"""

from __future__ import annotations

import os
from datetime import timedelta

from airflow.sdk import DAG
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator
from airflow_audit_provider.sensors.audit_logs import CloudflareAuditLogActivitySensor

DESTINATION = os.environ.get("AUDIT_ACTIVITY_DESTINATION", "file:///tmp/cloudflare-audit/suspicious")
SUSPICIOUS = {"action_type": os.environ.get("AUDIT_ACTIVITY_TYPE", "token_create")}

with DAG(
    dag_id="cloudflare_audit_on_activity",
    schedule=CronDataIntervalTimetable("0 * * * *", timezone="UTC"),
    catchup=False,
    max_active_runs=2,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5)},
    tags=["cloudflare", "audit", "security"],
    doc_md=__doc__,
):
    wait_for_action = CloudflareAuditLogActivitySensor(
        task_id="wait_for_action",
        filters=SUSPICIOUS,
        since="{{ data_interval_start }}",
        minimum_count=1,
        poke_interval=60,
        timeout=timedelta(minutes=20).total_seconds(),
        soft_fail=True,
        deferrable=True,
    )
    land_actions = CloudflareAuditLogsToObjectStorageOperator(
        task_id="land_actions",
        destination=DESTINATION,
        filters=SUSPICIOUS,
        deferrable=True,
    )
    wait_for_action >> land_actions
