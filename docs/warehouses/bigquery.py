"""Lands each day as Parquet in GCS and loads it into the day's partition of a BigQuery table, replacing what was there.

A day is a partition, and WRITE_TRUNCATE replaces it. The list of objects comes from the day's manifest, not from a
wildcard, so only committed parts are loaded.

Create the table first, partitioned by day on event_time. AUDIT_BUCKET and AUDIT_BIGQUERY_TABLE name bucket and table.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import AirflowSkipException
from airflow.providers.google.cloud.transfers.gcs_to_bigquery import GCSToBigQueryOperator
from airflow.sdk import DAG, ObjectStoragePath, task
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator

BUCKET = os.environ.get("AUDIT_BUCKET", "audit")
TABLE = os.environ.get("AUDIT_BIGQUERY_TABLE", "project.security.cloudflare_audit_logs")
DESTINATION = f"gs://{BUCKET}/cloudflare"

with DAG(
    dag_id="cloudflare_audit_bigquery",
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
    def parts(manifest_uri: str) -> list[str]:
        """Return the objects that the manifest names; a day without any has nothing to load."""
        import json

        found = [part["key"] for part in json.loads(ObjectStoragePath(manifest_uri).read_bytes())["parts"]]
        if not found:
            raise AirflowSkipException("The day has no records.")
        return [f"cloudflare/{key}" for key in found]

    GCSToBigQueryOperator(
        task_id="load",
        bucket=BUCKET,
        source_objects=parts(land.output["manifest_uri"]),
        source_format="PARQUET",
        destination_project_dataset_table=TABLE + "${{ data_interval_start | ds_nodash }}",
        write_disposition="WRITE_TRUNCATE",
        autodetect=False,
    )
