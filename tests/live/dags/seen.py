"""DAGs without a schedule whose tasks are looked at from all sides: one lands, one verifies and seals what landed.

Knows: the operators, their asset; the connection to Cloudflare is named by the run. Must not know: who looks.
Its one rule: nothing but Airflow and the provider is imported; the tests' folder is not there.
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
