"""Fetch the history Cloudflare still holds (18 months) into typed Parquet, one UTC day a run, by `airflow backfill`.

Knows: that history is wanted as a table, in Parquet with zstd, and how hard Cloudflare may be asked for it.
Must not know: which days are missing; `airflow backfill` says which runs exist, the operator what has landed.
Its one rule: a day that has landed is never fetched into a second copy, so any backfill may be asked for again.

How to run it
  airflow dags unpause cloudflare_audit_backfill
  airflow backfill create --dag-id cloudflare_audit_backfill --max-active-runs 2
      --from-date OLDEST --to-date YESTERDAY      (one line)

OLDEST is today minus 540 days, the oldest day that Cloudflare surely still has whole:
  python3 -c "from datetime import date, timedelta; print(date.today() - timedelta(days=540))"
It must not lie before the DAG's start_date: Airflow makes no task for such a run, and marks it successful.

Unpause it first: runs of a paused DAG stay queued, and nothing says so. While it is unpaused it also lands each new
day; pause it when the history is in, if the daily DAG is enough. Two runs at a time share one token's 1200 requests
in five minutes: more runs are not faster, they only meet the limit sooner. For days older than 18 months the task
fails at once and says so. Settings: AUDIT_HISTORY_DESTINATION, AUDIT_HISTORY_START_DATE.
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
    # False: unpausing this DAG must not by itself ask for 18 months; `airflow backfill create` does, when you say so.
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
