"""Writes yesterday's Cloudflare audit log, every day, as one partition of gzip-compressed JSON Lines.

Before the first run:
  1. Create a connection `cloudflare_default` of type `cloudflare`: set the password to an API token with *Account
     Settings: Read*, and `account_id` in the extra.
  2. Set AUDIT_DESTINATION to where the records are written (s3://…, gs://…, abfs://… or file:///…). The default is a
     folder on the worker, which is suitable only for a first try.
  3. Set AUDIT_START_DATE to the first UTC date. With catchup, Airflow runs each day from there, oldest first. Airflow
     creates no task for a manual run before this date, and marks the run successful: set an earlier date instead.

Each written day creates an event of the destination's asset, so `schedule=[audit_log_asset(DESTINATION)]` starts
another DAG.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG

# `airflow.sdk` exports this timetable only from 3.3 on; this import works from 3.0.6 to 3.3.2.
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_audit_provider.assets.audit_logs import audit_log_asset
from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator

DESTINATION = os.environ.get("AUDIT_DESTINATION", "file:///tmp/cloudflare-audit/jsonl")
START_DATE = os.environ.get("AUDIT_START_DATE", "2026-11-01")

with DAG(
    dag_id="cloudflare_audit_daily",
    # "@daily" would give a data interval without length. This timetable covers yesterday, 00:00 to 24:00.
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
