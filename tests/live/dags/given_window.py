"""A DAG without a schedule that lands the window a run is given.

Knows: the operator. Must not know: who asks, or for what.
Its one rule: nothing but Airflow and the provider is imported; the tests' folder is not there.
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
