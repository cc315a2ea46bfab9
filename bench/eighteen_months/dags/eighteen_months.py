"""DAG that lands the history: each run covers some days, and each of them is committed as a window of its own.

Invariant: its start date is in the future, so that only the backfill asked for is run.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG
from airflow.timetables.interval import DeltaDataIntervalTimetable

from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator

DAYS_A_RUN = int(os.environ["BENCH_DAYS_A_RUN"])
RETRY_SECONDS = float(os.environ["BENCH_RETRY_SECONDS"])

with DAG(
    dag_id="eighteen_months",
    schedule=DeltaDataIntervalTimetable(timedelta(days=DAYS_A_RUN)),
    start_date=datetime.fromisoformat(os.environ["AUDIT_START_DATE"]).replace(tzinfo=UTC),
    catchup=False,
    max_active_runs=4,
    default_args={"retries": 30, "retry_delay": timedelta(seconds=RETRY_SECONDS)},
):
    CloudflareAuditLogsToObjectStorageOperator(
        task_id="land",
        destination=os.environ["BENCH_DESTINATION"],
        partition_by="day" if DAYS_A_RUN > 1 else None,
    )
