"""Fills the gaps of a destination every night: days that are missing, and days whose late records were not read yet.

How to run it:
  airflow dags unpause cloudflare_audit_gaps

The task find_gaps says how many days each gap can still be read from Cloudflare, which keeps audit logs for 18 months,
and starts one landing task for each gap, in the order in which they expire. Without a gap the landing task is skipped.
Days that are lost for good, because Cloudflare no longer has them, are a warning in its log, a metric and an asset
event.

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
        # One after the other, in the order of their expiry; more would share the token's rate limit.
        max_active_tis_per_dagrun=1,
        map_index_template="{{ task.window_start }}",
        retries=5,
        retry_delay=timedelta(minutes=5),
        outlets=[audit_log_asset(DESTINATION)],
    ).expand_kwargs(gaps.output)
