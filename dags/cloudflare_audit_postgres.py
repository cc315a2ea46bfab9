"""Loads into PostgreSQL what the daily DAG has landed, as soon as it has landed.

It loads everything that is committed and not loaded, so a lost event costs nothing.

Needs the extra `postgres`. Settings: AUDIT_DESTINATION, as for `cloudflare_audit_daily`; AUDIT_POSTGRES_CONN_ID, a
connection of type `postgres` ("audit_postgres" by default).
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG

from airflow_audit_provider.assets.audit_logs import audit_log_asset
from airflow_audit_provider.operators.warehouses import CloudflareAuditLogsToSqlOperator

DESTINATION = os.environ.get("AUDIT_DESTINATION", "file:///tmp/cloudflare-audit/jsonl")
CONN_ID = os.environ.get("AUDIT_POSTGRES_CONN_ID", "audit_postgres")

with DAG(
    dag_id="cloudflare_audit_postgres",
    schedule=[audit_log_asset(DESTINATION)],
    start_date=datetime(2026, 11, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=2,
    default_args={"retries": 5, "retry_delay": timedelta(minutes=5)},
    tags=["cloudflare", "audit", "warehouse"],
    doc_md=__doc__,
):
    CloudflareAuditLogsToSqlOperator(
        task_id="load_audit_log",
        destination=DESTINATION,
        conn_id=CONN_ID,
        table="public.cloudflare_audit_logs",
    )
