"""Loads into PostgreSQL each window that the daily DAG has written, as soon as it is written.

The asset's event starts the DAG. It loads every window that is committed and not loaded, so a lost event delays a
window but does not lose it. Needs the extra `postgres`.

Settings: AUDIT_DESTINATION as for `cloudflare_audit_daily`, AUDIT_POSTGRES_CONN_ID (a connection of type `postgres`,
"audit_postgres" by default).
"""

from __future__ import annotations

import os
from datetime import timedelta

from airflow.sdk import DAG

from airflow_audit_provider.assets.audit_logs import audit_log_asset
from airflow_audit_provider.operators.warehouses import CloudflareAuditLogsToSqlOperator

DESTINATION = os.environ.get("AUDIT_DESTINATION", "file:///tmp/cloudflare-audit/jsonl")
CONN_ID = os.environ.get("AUDIT_POSTGRES_CONN_ID", "audit_postgres")

with DAG(
    dag_id="cloudflare_audit_postgres",
    schedule=[audit_log_asset(DESTINATION)],
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
