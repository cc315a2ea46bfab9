"""Derives what each record of the last week changed: the values of its resource before and after.

How to run it:
  airflow dags unpause cloudflare_audit_changes

The task writes one row for each record to the folder _changes of the destination. Join the rows to the records by id.
Records of version 2 of the API do not contain the value before, so the task requests the history of each resource.
These requests take a tenth of the token's rate limit. The task skips windows that are done.

Settings: AUDIT_DESTINATION, as for the DAG cloudflare_audit_daily, which lands each day.
"""

from __future__ import annotations

import os
from datetime import timedelta

from airflow.sdk import DAG

from airflow_audit_provider.operators.changes import CloudflareAuditLogsChangesOperator

DESTINATION = os.environ.get("AUDIT_DESTINATION", "file:///tmp/cloudflare-audit/jsonl")

with DAG(
    dag_id="cloudflare_audit_changes",
    # After the DAG that fills gaps.
    schedule="0 4 * * *",
    catchup=False,
    max_active_runs=1,
    tags=["cloudflare", "audit"],
    doc_md=__doc__,
):
    CloudflareAuditLogsChangesOperator(
        task_id="derive_changes",
        destination=DESTINATION,
        # A tenth of the token's rate limit: 24 requests a minute.
        rate_share=0.1,
        # About two hours; the next run goes on.
        max_requests=3000,
        retries=3,
        retry_delay=timedelta(minutes=10),
    )
