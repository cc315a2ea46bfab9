"""Every hour: waits for the creation of an API token, and lands those records of the hour for a review.

An hour without such an action is skipped, not failed, and takes no task slot while it waits.

The sensor defers: the triggerer waits, no worker does. `since` is its watermark: only actions at or after it count.
Records can appear after the end of their hour, so the sensor polls for 20 minutes. Settings:
AUDIT_ACTIVITY_DESTINATION, AUDIT_ACTIVITY_TYPE (a version 1 action type, "token_create" by default).
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator
from airflow_audit_provider.sensors.audit_logs import CloudflareAuditLogActivitySensor

DESTINATION = os.environ.get("AUDIT_ACTIVITY_DESTINATION", "file:///tmp/cloudflare-audit/suspicious")
SUSPICIOUS = {"action_type": os.environ.get("AUDIT_ACTIVITY_TYPE", "token_create")}

with DAG(
    dag_id="cloudflare_audit_on_activity",
    schedule=CronDataIntervalTimetable("0 * * * *", timezone="UTC"),
    start_date=datetime(2026, 11, 1, tzinfo=UTC),
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
