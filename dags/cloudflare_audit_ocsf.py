"""Writes yesterday's audit log as events of the Open Cybersecurity Schema Framework (OCSF), every day.

A SIEM or query engine that knows OCSF reads them without a mapping of its own: sign-ins are *Authentication*, changes
of accounts *Account Change*, most others *API Activity*. `ocsf_severity` gives new credentials a higher severity.

Settings: AUDIT_OCSF_DESTINATION, AUDIT_OCSF_START_DATE. If the reader knows an older release of OCSF only, set
AUDIT_OCSF_SCHEMA to `ocsf-1.3` or `ocsf-1.1`.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_audit_provider.assets.audit_logs import audit_log_asset
from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator

DESTINATION = os.environ.get("AUDIT_OCSF_DESTINATION", "file:///tmp/cloudflare-audit/ocsf")
START_DATE = os.environ.get("AUDIT_OCSF_START_DATE", "2026-11-01")

with DAG(
    dag_id="cloudflare_audit_ocsf",
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime.fromisoformat(START_DATE).replace(tzinfo=UTC),
    catchup=True,
    max_active_runs=4,
    default_args={"retries": 5, "retry_delay": timedelta(minutes=5), "retry_exponential_backoff": True},
    tags=["cloudflare", "audit", "ocsf"],
    doc_md=__doc__,
):
    CloudflareAuditLogsToObjectStorageOperator(
        task_id="land_ocsf_events",
        destination=DESTINATION,
        file_format="parquet",
        schema=os.environ.get("AUDIT_OCSF_SCHEMA", "ocsf"),
        ocsf_severity={"credential_created": "High"},
        outlets=[audit_log_asset(DESTINATION)],
    )
