"""Writes yesterday's audit log as OCSF events into a custom source of Amazon Security Lake, every day.

Before the first run:
  1. Add three custom sources in Security Lake, one for each class of events: `cf_audit_3001` (Account Change),
     `cf_audit_3002` (Authentication) and `cf_audit_6003` (API Activity). The guide "Security Lake" of the documentation
     says how.
  2. Create a connection of type `aws` that may write below `ext/cf_audit_*` in the lake's bucket and below the
     destination; name it in AUDIT_LAKE_CONN_ID.
  3. Set AUDIT_LAKE_BUCKET, AUDIT_LAKE_REGION, AUDIT_LAKE_DESTINATION and AUDIT_LAKE_START_DATE. The destination,
     outside of the lake, holds the manifests. The defaults are folders on the worker, for a first try only.

Each run also reads the last two days again, and adds late records as new objects.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_audit_provider.assets.audit_logs import audit_log_asset
from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator

DESTINATION = os.environ.get("AUDIT_LAKE_DESTINATION", "file:///tmp/cloudflare-audit/security-lake")
BUCKET = os.environ.get("AUDIT_LAKE_BUCKET", "file:///tmp/cloudflare-audit/lake-bucket")
REGION = os.environ.get("AUDIT_LAKE_REGION", "eu-central-1")
START_DATE = os.environ.get("AUDIT_LAKE_START_DATE", "2026-11-01")

with DAG(
    dag_id="cloudflare_audit_security_lake",
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime.fromisoformat(START_DATE).replace(tzinfo=UTC),
    catchup=True,
    max_active_runs=1,
    default_args={"retries": 5, "retry_delay": timedelta(minutes=5), "retry_exponential_backoff": True},
    tags=["cloudflare", "audit", "security lake"],
    doc_md=__doc__,
):
    CloudflareAuditLogsToObjectStorageOperator(
        task_id="land_in_security_lake",
        destination=DESTINATION,
        destination_conn_id=os.environ.get("AUDIT_LAKE_CONN_ID"),
        file_format="parquet",
        schema="ocsf-1.3",
        layout="security_lake",
        security_lake={"bucket": BUCKET, "source": "cf_audit_{class_uid}", "region": REGION},
        lookback=timedelta(days=2),
        outlets=[audit_log_asset(DESTINATION)],
    )
