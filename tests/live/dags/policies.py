"""DAGs whose tasks have a retry policy, if this Airflow supports one.

Without the policy these tasks are retried after an hour.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator

try:
    from airflow_audit_provider.retry_policy import CloudflareRetryPolicy

    POLICY: dict[str, Any] = {"retry_policy": CloudflareRetryPolicy()}
except ImportError:  # before Airflow 3.3
    POLICY = {}

for conn_id in ("impatient", "refused"):
    with DAG(dag_id=f"policy_{conn_id}", schedule=None):
        CloudflareAuditLogsToObjectStorageOperator(
            task_id="land",
            cloudflare_conn_id=conn_id,
            api_version="v2",
            destination=f"{os.environ['AUDIT_LANDED']}/policy_{conn_id}",
            window_start="{{ dag_run.conf['start'] }}",
            window_end="{{ dag_run.conf['end'] }}",
            retries=3,
            retry_delay=timedelta(hours=1),
            **POLICY,
        )
