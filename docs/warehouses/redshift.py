"""Lands each day as Parquet in S3 and replaces the day in a Redshift table, in one transaction.

The Data API runs the statements of one call as one transaction, so deleting and loading a day are atomic. Only objects
that the manifest lists are loaded.

Create the table first, with the columns of the normalized schema in their order. AUDIT_BUCKET names the bucket,
AUDIT_REDSHIFT_WORKGROUP and AUDIT_REDSHIFT_ROLE the workgroup and the role that may read the bucket.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.providers.amazon.aws.operators.redshift_data import RedshiftDataOperator
from airflow.sdk import DAG, ObjectStoragePath, task
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator

DESTINATION = f"s3://{os.environ.get('AUDIT_BUCKET', 'audit')}/cloudflare"
ROLE = os.environ.get("AUDIT_REDSHIFT_ROLE", "arn:aws:iam::000000000000:role/audit")

with DAG(
    dag_id="cloudflare_audit_redshift",
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime(2026, 11, 1, tzinfo=UTC),
    catchup=False,
    default_args={"retries": 5, "retry_delay": timedelta(minutes=5)},
):
    land = CloudflareAuditLogsToObjectStorageOperator(
        task_id="land",
        destination=DESTINATION,
        file_format="parquet",
        schema="normalized",
    )

    @task
    def statements(manifest_uri: str, window_start: str, window_end: str) -> list[str]:
        """Return what replaces the window: a delete, and a COPY of each object that the manifest names."""
        import json

        day = f"event_time >= '{window_start}' and event_time < '{window_end}'"
        parts = json.loads(ObjectStoragePath(manifest_uri).read_bytes())["parts"]
        copies = [
            f"copy cloudflare_audit_logs from '{DESTINATION}/{part['key']}' iam_role '{ROLE}' format as parquet"
            for part in parts
        ]
        return [f"delete from cloudflare_audit_logs where {day}", *copies]

    RedshiftDataOperator(
        task_id="load",
        database="audit",
        workgroup_name=os.environ.get("AUDIT_REDSHIFT_WORKGROUP", "audit"),
        sql=statements(land.output["manifest_uri"], land.output["window_start"], land.output["window_end"]),
    )
