"""Loads the history that Cloudflare still holds into an Apache Iceberg table, one UTC day per run, with a backfill.

How to run it:
  airflow dags unpause cloudflare_audit_iceberg
  airflow backfill create --dag-id cloudflare_audit_iceberg --max-active-runs 4
      --from-date OLDEST --to-date YESTERDAY      (one line)

`airflow-audit-provider oldest-day` prints OLDEST, the oldest UTC date that Cloudflare still holds completely.

Each run loads its own day in one commit, several runs may load at the same time, and a loaded day is not loaded again,
so a backfill can be repeated. Needs the extras `parquet` and `iceberg`.

Settings: AUDIT_ICEBERG_DESTINATION (where Parquet is written) and either AUDIT_ICEBERG_WAREHOUSE (a local folder with
an SQLite catalog) or AUDIT_ICEBERG_CONN_ID: a connection with the URI of any other catalog as host and its properties
as extra, for example {"type": "rest", "warehouse": "audit"}.

The DAG has no `start_date`, so that a manual run may have any logical date: Airflow creates no task for a run before a
DAG's `start_date`, and marks the run successful.
"""

from __future__ import annotations

import os
from datetime import timedelta

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
