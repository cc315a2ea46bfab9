"""Lands yesterday's Cloudflare audit log, every day, as one partition of gzip JSON Lines.

One DAG run covers one whole UTC day, so a run can be repeated without duplicating a record.

Before the first run
  1. Create a connection `cloudflare_default` of type `cloudflare`: an API token with *Account Settings: Read* as the
     password, `account_id` in the extra.
  2. Set the destination:    AUDIT_DESTINATION  (s3://…, gs://…, abfs://… or file:///…)
  3. Set the first day:      AUDIT_START_DATE   (a UTC date; catchup lands every day since, oldest first)

Each landed day is an event of the destination's asset: another DAG can be scheduled by `audit_log_asset(DESTINATION)`.
The default destination is a folder on the worker, for a first try: it is lost with the worker.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG

# `airflow.sdk` exports this timetable only from 3.3 on; this path works from 3.0.6 to 3.3.2.
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_audit_provider.assets.audit_logs import audit_log_asset
from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator

DESTINATION = os.environ.get("AUDIT_DESTINATION", "file:///tmp/cloudflare-audit/jsonl")
START_DATE = os.environ.get("AUDIT_START_DATE", "2026-11-01")

with DAG(
    dag_id="cloudflare_audit_daily",
    # Not "@daily": that is a point in time with an empty data interval. This one covers yesterday, 00:00 to 24:00.
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime.fromisoformat(START_DATE).replace(tzinfo=UTC),
    catchup=True,
    max_active_runs=4,
    default_args={"retries": 5, "retry_delay": timedelta(minutes=5), "retry_exponential_backoff": True},
    tags=["cloudflare", "audit"],
    doc_md=__doc__,
):
    CloudflareAuditLogsToObjectStorageOperator(
        task_id="land_audit_log",
        destination=DESTINATION,
        outlets=[audit_log_asset(DESTINATION)],
    )
