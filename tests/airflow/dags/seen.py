"""A DAG without a schedule whose one task is looked at from all sides: its connection is named by the run.

Knows: the operator, its asset. Must not know: who looks.
Its one rule: nothing but Airflow and the provider is imported; the tests' folder is not there.
"""

from __future__ import annotations

import os

from airflow.sdk import DAG

from airflow_audit_provider.assets.audit_logs import audit_log_asset
from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator

DESTINATION = f"{os.environ['AUDIT_LANDED']}/seen"

with DAG(dag_id="seen", schedule=None):
    CloudflareAuditLogsToObjectStorageOperator(
        task_id="land",
        destination=DESTINATION,
        cloudflare_conn_id="{{ dag_run.conf['conn_id'] }}",
        window_start="{{ dag_run.conf['start'] }}",
        window_end="{{ dag_run.conf['end'] }}",
        verify="recount",
        outlets=[audit_log_asset(DESTINATION)],
    )
