"""DAG of one pull, with the operator's arguments as JSON in an environment variable."""

from __future__ import annotations

import json
import os

from airflow.sdk import DAG

from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator

with DAG(dag_id="landing", schedule=None):
    CloudflareAuditLogsToObjectStorageOperator(task_id="task", **json.loads(os.environ["TASK_START_ARGUMENTS"]))
