"""Writes yesterday's audit log as events of the Open Cybersecurity Schema Framework (OCSF), every day.

A SIEM or a query engine that supports OCSF needs no mapping for these events. Logins are *Authentication*, changes of
accounts are *Account Change*, and most other actions are *API Activity*. `ocsf_severity` gives new credentials a higher
severity.

Settings: AUDIT_OCSF_DESTINATION, AUDIT_OCSF_START_DATE. If your tool supports only an older release of OCSF, set
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
