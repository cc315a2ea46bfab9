"""DAGs for the tests of the coverage page and of reports: a given window, each day's, and a window with its report.

Invariant: it imports only Airflow and the provider, because the tests' folder is not available there.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_audit_provider.assets.audit_logs import audit_log_asset
from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator
from airflow_audit_provider.operators.report import CloudflareAuditLogsReportOperator
from airflow_audit_provider.operators.seal import CloudflareAuditLogsSealOperator
from airflow_audit_provider.operators.verify import CloudflareAuditLogsVerifyOperator

DESTINATION = f"{os.environ['AUDIT_LANDED']}/covered"

with DAG(dag_id="covered", schedule=None):
    CloudflareAuditLogsToObjectStorageOperator(
        task_id="land",
        destination=DESTINATION,
        window_start="{{ dag_run.conf['start'] }}",
        window_end="{{ dag_run.conf['end'] }}",
        outlets=[audit_log_asset(DESTINATION)],
    )

TODAY = datetime.fromisoformat(os.environ["AUDIT_TODAY"]).replace(tzinfo=UTC)

with DAG(
    dag_id="covered_daily",
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=TODAY - timedelta(days=10),
    catchup=False,
):
    CloudflareAuditLogsToObjectStorageOperator(
        task_id="land", destination=DESTINATION, outlets=[audit_log_asset(DESTINATION)]
    )

REPORTED = f"{os.environ['AUDIT_LANDED']}/reported"

with DAG(dag_id="reported", schedule=None):
    land = CloudflareAuditLogsToObjectStorageOperator(
        task_id="land",
        destination=REPORTED,
        window_start="{{ dag_run.conf['start'] }}",
        window_end="{{ dag_run.conf['end'] }}",
    )
    seal = CloudflareAuditLogsSealOperator(task_id="seal", destination=REPORTED)
    verify = CloudflareAuditLogsVerifyOperator(task_id="verify", destination=REPORTED)
    land >> seal >> verify >> CloudflareAuditLogsReportOperator(task_id="report", destination=REPORTED)
