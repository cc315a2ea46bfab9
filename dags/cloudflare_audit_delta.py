"""Lands each UTC day as Parquet and loads it into a Delta Lake table, from which Spark, DuckDB and others read.

How to run it:
  airflow dags unpause cloudflare_audit_delta

Each run loads everything that is committed and not loaded yet, so the next run also loads a failed day or late records.
Needs the extras `parquet` and `delta`.

Settings: AUDIT_DELTA_DESTINATION (where Parquet is written), AUDIT_DELTA_TABLE (the table's folder, such as
s3://lake/cloudflare_audit_logs) and AUDIT_DELTA_CONN_ID (the connection of the table's object store, of type `aws` or
with deltalake's storage options as extra; none for a local folder).
"""

from __future__ import annotations

import os
from datetime import timedelta

from airflow.sdk import DAG
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator
from airflow_audit_provider.operators.warehouses import CloudflareAuditLogsToDeltaOperator

DESTINATION = os.environ.get("AUDIT_DELTA_DESTINATION", "file:///tmp/cloudflare-audit/delta-source")
TABLE = os.environ.get("AUDIT_DELTA_TABLE", "/tmp/cloudflare-audit/delta")  # noqa: S108 - for a first try
CONN_ID = os.environ.get("AUDIT_DELTA_CONN_ID")

with DAG(
    dag_id="cloudflare_audit_delta",
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 8, "retry_delay": timedelta(minutes=6)},
    tags=["cloudflare", "audit", "warehouse"],
    doc_md=__doc__,
):
    land = CloudflareAuditLogsToObjectStorageOperator(
        task_id="land_audit_logs",
        destination=DESTINATION,
        file_format="parquet",
        schema="normalized",
    )
    load = CloudflareAuditLogsToDeltaOperator(
        task_id="load_audit_logs",
        destination=DESTINATION,
        table=TABLE,
        table_conn_id=CONN_ID,
    )
    land >> load
