"""DAG whose runs land days in a bucket from any worker; they wait until the instant in an Airflow variable.

Invariant: it uses nothing of the machine that it runs on; waiting and landing are the operator's own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, Variable
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator


class LandSettledTogether(CloudflareAuditLogsToObjectStorageOperator):
    """The operator, with a settle delay that ends at the same instant for each day."""

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Lands the run's day when that instant has come."""
        self.settle_delay = datetime.fromisoformat(Variable.get("settled_at")) - context["data_interval_end"]
        return super().execute(context)


with DAG(
    dag_id="cluster",
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    # In the future: only the backfill asked for is run.
    start_date=datetime.fromisoformat(os.environ["AUDIT_START_DATE"]).replace(tzinfo=UTC),
    catchup=False,
    max_active_runs=16,
    max_active_tasks=16,
    default_args={"retries": 5, "retry_delay": timedelta(seconds=2)},
):
    LandSettledTogether(
        task_id="land",
        destination=os.environ["AUDIT_CLUSTER_DESTINATION"],
        destination_conn_id="bucket",
        deferrable=True,
    )
