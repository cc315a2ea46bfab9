"""Checks a Logpush archive every night, writes the records it lacks, and lands what the dataset lacks.

How to run it:
  airflow dags unpause cloudflare_audit_logpush

The task reconcile compares the files of the Logpush job audit_logs with the last eight days that cloudflare_audit_daily
has landed, except for the newest one, because Logpush may not have delivered all of its records yet. It writes missing
records as files in the job's own form beside the archive. Its log names what is missing, different, double and late,
and when the job was off. The task land is skipped if the dataset lacks nothing.

Settings: AUDIT_DESTINATION, as for the DAG cloudflare_audit_daily; LOGPUSH_ARCHIVE, the folder of the job's files.
"""

from __future__ import annotations

import os
from datetime import timedelta

from airflow.sdk import DAG

from airflow_audit_provider.assets.audit_logs import audit_log_asset
from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator
from airflow_audit_provider.operators.reconcile import CloudflareLogpushReconcileOperator

DESTINATION = os.environ.get("AUDIT_DESTINATION", "file:///tmp/cloudflare-audit/jsonl")
ARCHIVE = os.environ.get("LOGPUSH_ARCHIVE", "file:///tmp/cloudflare-logpush/audit_logs")

with DAG(
    dag_id="cloudflare_audit_logpush",
    # After the DAG that lands yesterday.
    schedule="0 4 * * *",
    catchup=False,
    max_active_runs=1,
    tags=["cloudflare", "audit"],
    doc_md=__doc__,
):
    lacking = CloudflareLogpushReconcileOperator(
        task_id="reconcile",
        destination=DESTINATION,
        archive=ARCHIVE,
        start="{{ (dag_run.run_after - macros.timedelta(days=9)).strftime('%Y-%m-%d') }}",
        end="{{ (dag_run.run_after - macros.timedelta(days=1)).strftime('%Y-%m-%d') }}",
        repair_to=f"{ARCHIVE}_repaired",
    )
    CloudflareAuditLogsToObjectStorageOperator.partial(
        task_id="land",
        destination=DESTINATION,
        max_active_tis_per_dagrun=1,
        map_index_template="{{ task.window_start }}",
        retries=5,
        retry_delay=timedelta(minutes=5),
        outlets=[audit_log_asset(DESTINATION)],
    ).expand_kwargs(lacking.output)
