"""Lands each day as Parquet in S3 and replaces the day in a Snowflake table, in one transaction.

Deleting and loading a day are one transaction. Only objects that the manifest lists are loaded.

Create the table and the external stage @cloudflare_audit over the destination first. AUDIT_BUCKET names the bucket,
AUDIT_SNOWFLAKE_CONN_ID the connection.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.providers.snowflake.operators.snowflake import SnowflakeSqlApiOperator
from airflow.sdk import DAG, ObjectStoragePath, task
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator

DESTINATION = f"s3://{os.environ.get('AUDIT_BUCKET', 'audit')}/cloudflare"
REPLACE_DAY = """
begin transaction;
delete from cloudflare_audit_logs
where event_time >= '{{ data_interval_start | ts }}' and event_time < '{{ data_interval_end | ts }}';
{% for key in ti.xcom_pull("parts") %}
copy into cloudflare_audit_logs from '@cloudflare_audit/{{ key }}'
file_format = (type = parquet use_logical_type = true) match_by_column_name = case_insensitive force = true;
{% endfor %}
commit;
"""

with DAG(
    dag_id="cloudflare_audit_snowflake",
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
        """Return the keys that the manifest names."""
        import json

        return [part["key"] for part in json.loads(ObjectStoragePath(manifest_uri).read_bytes())["parts"]]

    load = SnowflakeSqlApiOperator(
        task_id="load",
        snowflake_conn_id=os.environ.get("AUDIT_SNOWFLAKE_CONN_ID", "snowflake_default"),
        sql=REPLACE_DAY,
        # 0 allows any number of statements: how many parts the day has is known only when the task runs.
        statement_count=0,
    )
    parts(land.output["manifest_uri"]) >> load
