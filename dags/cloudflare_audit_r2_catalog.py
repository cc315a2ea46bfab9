"""Lands each UTC day in R2 as Parquet and loads it into an Iceberg table in R2 Data Catalog.

How to run it:
  airflow dags unpause cloudflare_audit_r2_catalog

Each run loads everything that is committed and not loaded yet, so the next run also loads a failed day or late records.
Needs the extras `parquet`, `s3` and `iceberg`.

Settings: AUDIT_R2_DESTINATION (where Parquet is written, such as s3://audit/cloudflare), AUDIT_R2_CONN_ID (the
connection of the bucket, of type `aws` with the bucket's endpoint) and AUDIT_R2_CATALOG_CONN_ID: a connection with the
Catalog URI as host, an R2 API token as password, and {"type": "rest", "warehouse": "WAREHOUSE NAME"} as extra.
"""

from __future__ import annotations

import os
from datetime import timedelta

from airflow.sdk import DAG
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator
from airflow_audit_provider.operators.warehouses import CloudflareAuditLogsToIcebergOperator

DESTINATION = os.environ.get("AUDIT_R2_DESTINATION", "file:///tmp/cloudflare-audit/r2-source")
CONN_ID = os.environ.get("AUDIT_R2_CONN_ID")
CATALOG_CONN_ID = os.environ.get("AUDIT_R2_CATALOG_CONN_ID", "r2_data_catalog")

with DAG(
    dag_id="cloudflare_audit_r2_catalog",
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
        destination_conn_id=CONN_ID,
        file_format="parquet",
        schema="normalized",
    )
    load = CloudflareAuditLogsToIcebergOperator(
        task_id="load_audit_logs",
        destination=DESTINATION,
        destination_conn_id=CONN_ID,
        catalog_conn_id=CATALOG_CONN_ID,
        table="audit.cloudflare_audit_logs",
    )
    land >> load
