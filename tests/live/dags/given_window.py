"""DAG without a schedule that lands the window that a run is given.

Invariant: it imports only Airflow and the provider, because the tests' folder is not available there.
"""

from __future__ import annotations

import os
from datetime import timedelta

from airflow.sdk import DAG

from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator

with DAG(dag_id="given_window", schedule=None, default_args={"retries": 2, "retry_delay": timedelta(seconds=1)}):
    CloudflareAuditLogsToObjectStorageOperator(
        task_id="land",
        destination=f"{os.environ['AUDIT_LANDED']}/given_window",
        window_start="{{ dag_run.conf['start'] }}",
        window_end="{{ dag_run.conf['end'] }}",
    )
