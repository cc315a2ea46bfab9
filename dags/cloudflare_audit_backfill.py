"""Writes the history that Cloudflare still holds (18 months) as typed Parquet, one UTC day per run, with a backfill.

How to run it:
  airflow dags unpause cloudflare_audit_backfill
  airflow backfill create --dag-id cloudflare_audit_backfill --max-active-runs 2
      --from-date OLDEST --to-date YESTERDAY      (one line)

`airflow-audit-provider oldest-day` prints OLDEST, the oldest UTC date that Cloudflare still holds completely.

Unpause the DAG first: runs of a paused DAG stay queued without a message. While it is unpaused it also writes each new
day; pause it after the backfill if the daily DAG is enough. For a busy log, two runs at a time use the 1200 requests in
five minutes that Cloudflare allows, and more runs are not faster. A day that is already written is not written again,
so a backfill can be repeated.

Settings: AUDIT_HISTORY_DESTINATION, AUDIT_HISTORY_START_DATE (a UTC date before which no run is allowed; optional).
Without it the DAG has no `start_date`: Airflow creates no task for a run before a DAG's `start_date`, and marks the run
successful.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_audit_provider.assets.audit_logs import audit_log_asset
from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator

DESTINATION = os.environ.get("AUDIT_HISTORY_DESTINATION", "file:///tmp/cloudflare-audit/parquet")
START_DATE = os.environ.get("AUDIT_HISTORY_START_DATE")

with DAG(
    dag_id="cloudflare_audit_backfill",
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime.fromisoformat(START_DATE).replace(tzinfo=UTC) if START_DATE else None,
    # Unpausing the DAG must not fetch the history; only `airflow backfill create` does.
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
