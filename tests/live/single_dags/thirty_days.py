"""DAG with a month of days to backfill, all settled at one instant, so that the first of them wait for it.

Invariant: it imports only Airflow and the provider; waiting and landing are the operator's own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator

SETTLED_AT = Path(os.environ["AUDIT_SETTLED_AT_FILE"])


class LandSettledTogether(CloudflareAuditLogsToObjectStorageOperator):
    """The operator, with a settle delay that ends at the same instant for each day."""

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Lands the run's day when that instant has come."""
        self.settle_delay = datetime.fromisoformat(SETTLED_AT.read_text()) - context["data_interval_end"]
        return super().execute(context)


with DAG(
    dag_id="thirty_days",
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    # In the future: only the backfill asked for is run.
    start_date=datetime.fromisoformat(os.environ["AUDIT_START_DATE"]).replace(tzinfo=UTC),
    catchup=False,
    max_active_runs=10,
    max_active_tasks=10,
    default_args={"retries": 5, "retry_delay": timedelta(seconds=2)},
):
    LandSettledTogether(task_id="land", destination=f"{os.environ['AUDIT_LANDED']}/thirty_days", deferrable=True)
