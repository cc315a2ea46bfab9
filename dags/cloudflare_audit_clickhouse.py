"""Lands each UTC day as Parquet and loads it into ClickHouse, where the view shows each record once.

How to run it:
  export AIRFLOW_CONN_CLICKHOUSE_DEFAULT='generic://LOGIN:PASSWORD@HOST:8123/DATABASE'
  airflow dags unpause cloudflare_audit_clickhouse

Each run loads everything that is committed and not loaded yet, so a failed day or late records come with the next run.
Needs the extras `parquet` and `clickhouse`.

Settings: AUDIT_CLICKHOUSE_DESTINATION (where Parquet is written), AUDIT_CLICKHOUSE_TABLE (the view's name) and
AUDIT_CLICKHOUSE_CONN_ID (the connection of the server).
"""

from __future__ import annotations

import os
from datetime import timedelta

from airflow.sdk import DAG
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator
from airflow_audit_provider.operators.warehouses import CloudflareAuditLogsToClickHouseOperator

DESTINATION = os.environ.get("AUDIT_CLICKHOUSE_DESTINATION", "file:///tmp/cloudflare-audit/clickhouse-source")
TABLE = os.environ.get("AUDIT_CLICKHOUSE_TABLE", "cloudflare_audit_logs")
CONN_ID = os.environ.get("AUDIT_CLICKHOUSE_CONN_ID", "clickhouse_default")

with DAG(
    dag_id="cloudflare_audit_clickhouse",
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
    load = CloudflareAuditLogsToClickHouseOperator(
        task_id="load_audit_logs",
        destination=DESTINATION,
        table=TABLE,
        clickhouse_conn_id=CONN_ID,
    )
    land >> load
