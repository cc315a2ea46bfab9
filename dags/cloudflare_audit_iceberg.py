"""Loads the history that Cloudflare still keeps into an Apache Iceberg table, one UTC day a run, by `airflow backfill`.

A day that is loaded is never loaded a second time, so every backfill can be repeated. Several runs can load at a time:
each commits its own day, and retries if another one committed first.

How to run it
  airflow dags unpause cloudflare_audit_iceberg
  airflow backfill create --dag-id cloudflare_audit_iceberg --max-active-runs 4
      --from-date OLDEST --to-date YESTERDAY      (one line)

OLDEST is today minus 540 days, the oldest day that Cloudflare surely keeps complete:
  python3 -c "from datetime import date, timedelta; print(date.today() - timedelta(days=540))"
It must not be before the DAG's start_date: Airflow creates no task for such a run, and marks the run successful.

Needs the extras `parquet` and `iceberg`. Settings: AUDIT_ICEBERG_DESTINATION (where Parquet lands),
AUDIT_ICEBERG_WAREHOUSE (a local folder with an SQLite catalog), or AUDIT_ICEBERG_CONN_ID: a connection whose extra has
the properties of any other catalog, such as {"type": "rest", "warehouse": "audit"}, with the URI as its host.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator
from airflow_audit_provider.operators.warehouses import CloudflareAuditLogsToIcebergOperator

DESTINATION = os.environ.get("AUDIT_ICEBERG_DESTINATION", "file:///tmp/cloudflare-audit/iceberg-source")
CONN_ID = os.environ.get("AUDIT_ICEBERG_CONN_ID")
WAREHOUSE = os.environ.get("AUDIT_ICEBERG_WAREHOUSE", "/tmp/cloudflare-audit/iceberg")  # noqa: S108 - for a first try

with DAG(
    dag_id="cloudflare_audit_iceberg",
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime(2025, 6, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=4,
    default_args={"retries": 8, "retry_delay": timedelta(minutes=6)},
    tags=["cloudflare", "audit", "warehouse", "backfill"],
    doc_md=__doc__,
):
    land = CloudflareAuditLogsToObjectStorageOperator(
        task_id="land_audit_history",
        destination=DESTINATION,
        file_format="parquet",
        schema="normalized",
    )
    load = CloudflareAuditLogsToIcebergOperator(
        task_id="load_audit_history",
        destination=DESTINATION,
        catalog_conn_id=CONN_ID,
        warehouse=None if CONN_ID else WAREHOUSE,
        table="audit.cloudflare_audit_logs",
        windows="run",
    )
    land >> load
