"""Writes each day as an asset partition, and verifies each written day. Needs Airflow 3.2; older versions get no DAG.

`cloudflare_audit_partitions` runs each midnight for the previous day; the partition key is the date. A partitioned run
has neither a data interval nor a logical date. The event of its asset carries the key and starts
`cloudflare_audit_partition_check` for the same key; a DAG with a plain `schedule=[asset]` is not started.

For days of a local time zone, give the timetable and the operator the same `timezone`, and a key with an offset: set
`key_format` and `partition_key_format` to "%Y-%m-%dT%H:%M:%S%z". Airflow 3.2 writes keys in UTC, 3.3 in local time.

Settings: AUDIT_PARTITIONS_DESTINATION, AUDIT_PARTITIONS_START_DATE.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow import __version__
from airflow.sdk import DAG

from airflow_audit_provider.assets.audit_logs import audit_log_asset
from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator
from airflow_audit_provider.operators.verify import CloudflareAuditLogsVerifyOperator

DESTINATION = os.environ.get("AUDIT_PARTITIONS_DESTINATION", "file:///tmp/cloudflare-audit/partitions")
START_DATE = os.environ.get("AUDIT_PARTITIONS_START_DATE", "2026-11-01")

if [int(part) for part in __version__.split(".")[:2]] >= [3, 2]:
    from airflow.sdk import CronPartitionTimetable, PartitionedAssetTimetable

    with DAG(
        dag_id="cloudflare_audit_partitions",
        # run_offset=-1: the partition is the day that ends when the run starts.
        schedule=CronPartitionTimetable("0 0 * * *", timezone="UTC", run_offset=-1, key_format="%Y-%m-%d"),
        start_date=datetime.fromisoformat(START_DATE).replace(tzinfo=UTC),
        catchup=True,
        max_active_runs=4,
        default_args={"retries": 5, "retry_delay": timedelta(minutes=5)},
        tags=["cloudflare", "audit", "partitions"],
        doc_md=__doc__,
    ):
        CloudflareAuditLogsToObjectStorageOperator(
            task_id="land_partition",
            destination=DESTINATION,
            outlets=[audit_log_asset(DESTINATION)],
        )

    with DAG(
        dag_id="cloudflare_audit_partition_check",
        schedule=PartitionedAssetTimetable(assets=audit_log_asset(DESTINATION)),
        catchup=False,
        tags=["cloudflare", "audit", "partitions"],
        doc_md=__doc__,
    ):
        CloudflareAuditLogsVerifyOperator(
            task_id="verify_partition",
            destination=DESTINATION,
            # The template variable `partition_key` does not exist in Airflow 3.2.
            start="{{ dag_run.partition_key }}",
            end="{{ macros.ds_add(dag_run.partition_key, 1) }}",
        )
