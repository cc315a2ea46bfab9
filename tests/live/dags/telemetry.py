"""DAGs without a schedule for the tests of metrics, traces, lineage and links: one lands, one verifies and seals.

Invariant: it imports only Airflow and the provider, because the tests' folder is not available there.
"""

from __future__ import annotations

import os

from airflow.sdk import DAG

from airflow_audit_provider.assets.audit_logs import audit_log_asset
from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator
from airflow_audit_provider.operators.seal import CloudflareAuditLogsSealOperator
from airflow_audit_provider.operators.verify import CloudflareAuditLogsVerifyOperator

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

with DAG(dag_id="seen_audited", schedule=None):
    verify = CloudflareAuditLogsVerifyOperator(task_id="verify", destination=DESTINATION)
    seal = CloudflareAuditLogsSealOperator(task_id="seal", destination=DESTINATION, signing_conn_id="signing")
    verify >> seal
