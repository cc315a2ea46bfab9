"""Writes a range of days in one task, each day as a window of its own: a month, or all that Cloudflare still holds.

How to run it:
  airflow dags unpause cloudflare_audit_history
  airflow dags trigger cloudflare_audit_history --conf '{"first_day": "2026-10-01", "before_day": "2026-11-01"}'

`airflow-audit-provider oldest-day` prints the oldest UTC date that Cloudflare still holds completely. The range ends
before `before_day`. Days that are written are skipped, so the DAG can be triggered again, also with a longer range, and
a retry continues where the attempt before it ended. The task does not look for late records of skipped days.

Settings: AUDIT_HISTORY_DESTINATION. It may be the destination of the DAG cloudflare_audit_backfill, which writes the
same data files with a task for each day.
"""

from __future__ import annotations

import os
from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_audit_provider.assets.audit_logs import audit_log_asset
from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator

DESTINATION = os.environ.get("AUDIT_HISTORY_DESTINATION", "file:///tmp/cloudflare-audit/parquet")

with DAG(
    dag_id="cloudflare_audit_history",
    schedule=None,
    catchup=False,
    # A run skips what is committed when it starts, so two runs of one range would read it twice.
    max_active_runs=1,
    params={
        "first_day": Param(type="string", format="date", description="first day, UTC"),
        "before_day": Param(type="string", format="date", description="day after the last one, UTC"),
    },
    default_args={"retries": 8, "retry_delay": timedelta(minutes=6)},
    tags=["cloudflare", "audit", "backfill"],
    doc_md=__doc__,
):
    CloudflareAuditLogsToObjectStorageOperator(
        task_id="land_audit_history",
        destination=DESTINATION,
        window_start="{{ params.first_day }}",
        window_end="{{ params.before_day }}",
        partition_by="day",
        file_format="parquet",
        compression="zstd",
        schema="normalized",
        outlets=[audit_log_asset(DESTINATION)],
    )
