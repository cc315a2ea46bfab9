"""Fills the gaps of a destination every night: days that are missing, and days whose late records were not read yet.

How to run it:
  airflow dags unpause cloudflare_audit_gaps

The task find_gaps logs for how many more days each gap can be read from Cloudflare, which keeps audit logs for 18
months. Airflow then starts one land task for each gap, the oldest gap first. If there is no gap, it skips the land
task. For days that Cloudflare no longer has, find_gaps logs a warning and sends a metric and an asset event.

Settings: AUDIT_DESTINATION, as for the DAG cloudflare_audit_daily, which lands each day.
"""

from __future__ import annotations

import os
from datetime import timedelta

from airflow.sdk import DAG

from airflow_audit_provider.assets.audit_logs import audit_log_asset, audit_log_gap_alias
from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator
from airflow_audit_provider.operators.coverage import CloudflareAuditLogsCoverageOperator

DESTINATION = os.environ.get("AUDIT_DESTINATION", "file:///tmp/cloudflare-audit/jsonl")

with DAG(
    dag_id="cloudflare_audit_gaps",
    # After the DAG that lands yesterday.
    schedule="0 3 * * *",
    catchup=False,
    max_active_runs=1,
    tags=["cloudflare", "audit"],
    doc_md=__doc__,
):
    gaps = CloudflareAuditLogsCoverageOperator(
        task_id="find_gaps",
        destination=DESTINATION,
        division="day",
        outlets=[audit_log_gap_alias(DESTINATION)],
    )
    CloudflareAuditLogsToObjectStorageOperator.partial(
        task_id="fill_gap",
        destination=DESTINATION,
        # One after the other, in the order of their expiry: tasks at the same time would only share the rate limit.
        max_active_tis_per_dagrun=1,
        map_index_template="{{ task.window_start }}",
        retries=5,
        retry_delay=timedelta(minutes=5),
        outlets=[audit_log_asset(DESTINATION)],
    ).expand_kwargs(gaps.output)
