"""DAGs that wait: a sensor for activity, and windows that are not settled yet.

Invariant: all of them read version 2 of the API, in which tests switch on misbehaviours without affecting other DAGs.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator
from airflow_audit_provider.sensors.audit_logs import CloudflareAuditLogActivitySensor

WINDOW: dict[str, Any] = {
    "window_start": "{{ dag_run.conf['start'] }}",
    "api_version": "v2",
    "settle_delay": timedelta(0),
}

# A busy Airflow 3.3.2 can mark a resumed task as failed before its worker has started it ("TI was not in a state where
# it could be marked as running"). Airflow retries such a task, and never one that is skipped.
RETRIES = {"retries": 2, "retry_delay": timedelta(seconds=1)}

with DAG(dag_id="wait_for_activity", schedule=None, default_args={"retries": 0}):
    CloudflareAuditLogActivitySensor(
        task_id="wait",
        api_version="v2",
        since="{{ dag_run.conf['since'] }}",
        filters={"action_type": "{{ dag_run.conf['action'] }}"},
        poke_interval=2,
        timeout=600,
        deferrable=True,
    )

with DAG(dag_id="skip_softly", schedule=None, default_args=RETRIES):
    CloudflareAuditLogActivitySensor(
        task_id="wait",
        api_version="v2",
        since="2026-01-01",
        filters={"action_type": "never_done"},
        poke_interval=2,
        timeout=4,
        soft_fail=True,
        deferrable=True,
    )

with DAG(dag_id="wait_for_the_window", schedule=None, default_args={"retries": 0}):
    for task_id, deferrable in (("deferred", True), ("rescheduled", False)):
        CloudflareAuditLogsToObjectStorageOperator(
            task_id=task_id,
            destination=f"{os.environ['AUDIT_LANDED']}/{task_id}",
            window_end="{{ dag_run.conf['end'] }}",
            deferrable=deferrable,
            **WINDOW,
        )
    CloudflareAuditLogsToObjectStorageOperator.partial(
        task_id="mapped", window_end="{{ dag_run.conf['end'] }}", deferrable=False, **WINDOW
    ).expand(destination=[f"{os.environ['AUDIT_LANDED']}/mapped"])
