"""Lands each day as Parquet in S3 and adds it as a partition to an external table of Athena.

The partition is added after the manifest is written, so a query sees a complete day. Late records land as another part
below the same prefix, and Athena sees them at once.

Create the external table first, partitioned by dt (date), over the destination. AUDIT_BUCKET names the bucket.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.providers.amazon.aws.operators.athena import AthenaOperator
from airflow.sdk import DAG
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator

BUCKET = os.environ.get("AUDIT_BUCKET", "audit")
DESTINATION = f"s3://{BUCKET}/cloudflare"

with DAG(
    dag_id="cloudflare_audit_athena",
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
    add_partition = AthenaOperator(
        task_id="add_partition",
        database="audit",
        output_location=f"s3://{BUCKET}/athena-results/",
        query=(
            "alter table cloudflare_audit_logs add if not exists partition (dt = '{{ data_interval_start | ds }}') "
            f"location '{DESTINATION}/dt={{{{ data_interval_start | ds }}}}/'"
        ),
    )
    land >> add_partition
