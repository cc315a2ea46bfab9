"""Writes the daily audit logs of several Cloudflare accounts, each to its own folder, with one mapped task per account.

A failure of one account does not stop the others, and a retry fetches only that account's day. All tokens of one user
share one rate limit, so at most two tasks run at a time. If each account has an account-owned token, which has a limit
of its own, add `cloudflare_conn_id` next to `account_id` in each mapping.

Settings: AUDIT_ACCOUNTS (account ids separated by commas), AUDIT_ACCOUNTS_DESTINATION (parent of the accounts'
folders).

The DAG has no `start_date`, so that a manual run may have any logical date: Airflow creates no task for a run before a
DAG's `start_date`, and marks the run successful.
"""

from __future__ import annotations

import os
from datetime import timedelta

from airflow.sdk import DAG
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator

DESTINATION = os.environ.get("AUDIT_ACCOUNTS_DESTINATION", "file:///tmp/cloudflare-audit/accounts")
ACCOUNTS = os.environ.get("AUDIT_ACCOUNTS", "0" * 31 + "1," + "0" * 31 + "2").split(",")

with DAG(
    dag_id="cloudflare_audit_accounts",
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 5, "retry_delay": timedelta(minutes=5)},
    tags=["cloudflare", "audit"],
    doc_md=__doc__,
):
    CloudflareAuditLogsToObjectStorageOperator.partial(
        task_id="land_account_audit_log",
        max_active_tis_per_dag=2,
        map_index_template="{{ task.account_id }}",
    ).expand_kwargs(
        [{"account_id": account, "destination": f"{DESTINATION}/account={account}"} for account in ACCOUNTS]
    )
