"""Lands the history that Cloudflare still keeps (18 months) as typed Parquet, one UTC day a run, by `airflow backfill`.

A day that has landed is never landed a second time, so every backfill can be repeated.

How to run it
  airflow dags unpause cloudflare_audit_backfill
  airflow backfill create --dag-id cloudflare_audit_backfill --max-active-runs 2
      --from-date OLDEST --to-date YESTERDAY      (one line)

OLDEST is today minus 540 days, the oldest day that Cloudflare surely keeps complete:
  python3 -c "from datetime import date, timedelta; print(date.today() - timedelta(days=540))"
It must not be before the DAG's start_date: Airflow creates no task for such a run, and marks the run successful.

Unpause the DAG first: runs of a paused DAG stay queued without a message. An unpaused DAG also lands each new day;
pause it after the backfill if the daily DAG does that. Two runs at a time use up one token's limit of 1200 requests in
five minutes; more runs are not faster. For days older than 18 months the task fails at once and says so. Settings:
AUDIT_HISTORY_DESTINATION, AUDIT_HISTORY_START_DATE.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_audit_provider.assets.audit_logs import audit_log_asset
from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator

DESTINATION = os.environ.get("AUDIT_HISTORY_DESTINATION", "file:///tmp/cloudflare-audit/parquet")
START_DATE = os.environ.get("AUDIT_HISTORY_START_DATE", "2025-06-01")

with DAG(
    dag_id="cloudflare_audit_backfill",
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime.fromisoformat(START_DATE).replace(tzinfo=UTC),
    # False: unpausing this DAG must not fetch 18 months; `airflow backfill create` does.
    catchup=False,
    max_active_runs=4,
    default_args={"retries": 8, "retry_delay": timedelta(minutes=6)},
    tags=["cloudflare", "audit", "backfill"],
    doc_md=__doc__,
):
    CloudflareAuditLogsToObjectStorageOperator(
        task_id="land_audit_history",
        destination=DESTINATION,
        file_format="parquet",
        compression="zstd",
        schema="normalized",
        outlets=[audit_log_asset(DESTINATION)],
    )
