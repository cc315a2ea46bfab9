"""Plans the backfill of the history that Cloudflare still holds (18 months), and writes nothing.

How to run it:
  airflow dags trigger cloudflare_audit_plan

The task's log has the plan: which days are missing, lost for good or expire soon, how many requests, minutes and bytes
the missing days need, and the `airflow backfill create` command. The XCom has the same plan as a dict.

Settings: AUDIT_HISTORY_DESTINATION, as for the DAG cloudflare_audit_backfill.
"""

from __future__ import annotations

import os

from airflow.sdk import DAG

from airflow_audit_provider.operators.plan import CloudflareAuditLogsPlanOperator

DESTINATION = os.environ.get("AUDIT_HISTORY_DESTINATION", "file:///tmp/cloudflare-audit/parquet")

with DAG(
    dag_id="cloudflare_audit_plan",
    schedule=None,
    catchup=False,
    tags=["cloudflare", "audit", "backfill"],
    doc_md=__doc__,
):
    CloudflareAuditLogsPlanOperator(
        task_id="plan_backfill",
        destination=DESTINATION,
        division="day",
        backfill_dag_id="cloudflare_audit_backfill",
    )
