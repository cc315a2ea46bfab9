"""Lands the daily audit logs of several Cloudflare accounts, each into its own folder, one mapped task an account.

The failure of one account does not delay the others, and a retry fetches only that account's day.

Settings: AUDIT_ACCOUNTS, account ids separated by commas, and AUDIT_ACCOUNTS_DESTINATION, the folder above them. One
token for all accounts has one rate limit, so two tasks run at a time; with a token for each account, give each mapping
its own `cloudflare_conn_id` beside `account_id`.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator

DESTINATION = os.environ.get("AUDIT_ACCOUNTS_DESTINATION", "file:///tmp/cloudflare-audit/accounts")
ACCOUNTS = os.environ.get("AUDIT_ACCOUNTS", "0" * 31 + "1," + "0" * 31 + "2").split(",")

with DAG(
    dag_id="cloudflare_audit_accounts",
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime(2026, 11, 1, tzinfo=UTC),
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
