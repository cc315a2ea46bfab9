"""Lands the window of a run's conf, and reads the two days before it again for late records.

The files are those of `cloudflare_audit_daily` and `cloudflare_audit_backfill`. The demo triggers this DAG after a
record has appeared in a day that is already committed.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from airflow_audit_provider.assets.audit_logs import audit_log_asset
from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator

JSONL = os.environ.get("AUDIT_DESTINATION", "file:///tmp/cloudflare-audit/jsonl")
PARQUET = os.environ.get("AUDIT_HISTORY_DESTINATION", "file:///tmp/cloudflare-audit/parquet")
WINDOW: dict[str, Any] = {
    "window_start": "{{ dag_run.conf['start'] }}",
    "window_end": "{{ dag_run.conf['end'] }}",
    "lookback": timedelta(days=2),
}

with DAG(dag_id="demo_lookback", schedule=None, tags=["cloudflare", "audit", "demo"], doc_md=__doc__):
    CloudflareAuditLogsToObjectStorageOperator(
        task_id="land_jsonl", destination=JSONL, outlets=[audit_log_asset(JSONL)], **WINDOW
    )
    CloudflareAuditLogsToObjectStorageOperator(
        task_id="land_parquet",
        destination=PARQUET,
        file_format="parquet",
        compression="zstd",
        schema="normalized",
        outlets=[audit_log_asset(PARQUET)],
        **WINDOW,
    )
