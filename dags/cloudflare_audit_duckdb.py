"""Writes yesterday's audit log as Parquet, loads it into a DuckDB file, and answers four questions in the task's log.

Needs the extras `parquet` and `duckdb`. The questions use the normalized schema, which is the same for both versions of
the API. Audit records contain no country, only an IP address: logins are counted by network, /16 for IPv4 and /32 for
IPv6, about the size of a provider's network.

Settings: AUDIT_DUCKDB_DESTINATION (where Parquet is written), AUDIT_DUCKDB (the DuckDB file).

The DAG has no `start_date`, so that a manual run may have any logical date: Airflow creates no task for a run before a
DAG's `start_date`, and marks the run successful.
"""

from __future__ import annotations

import logging
import os
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, task
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_audit_provider.assets.audit_logs import audit_log_asset
from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator
from airflow_audit_provider.operators.warehouses import CloudflareAuditLogsToSqlOperator

log = logging.getLogger(__name__)

DESTINATION = os.environ.get("AUDIT_DUCKDB_DESTINATION", "file:///tmp/cloudflare-audit/warehouse")
DUCKDB = os.environ.get("AUDIT_DUCKDB", "/tmp/cloudflare-audit/audit.duckdb")  # noqa: S108 - for a first try

# Each query returns a name and the number of successful and failed actions. They also run on PostgreSQL.
QUESTIONS = {
    "Who changed DNS this week?": """
select coalesce(actor_email, actor_token_name, actor_type, 'unknown') as name,
       count(*) filter (where action_succeeded is not false) as done,
       count(*) filter (where action_succeeded is false) as failed
from cloudflare_audit_logs
where (resource_type = 'DNS_record' or resource_product = 'dns_records')
  and event_time >= (select max(window_end) from cloudflare_audit_logs) - interval '7 days'
group by 1 order by 2 desc, 1 limit 10""",
    "From which networks did users log in?": """
select case when actor_ip like '%:%' then split_part(actor_ip, ':', 1) || ':' || split_part(actor_ip, ':', 2) || '::/32'
            else split_part(actor_ip, '.', 1) || '.' || split_part(actor_ip, '.', 2) || '.0.0/16' end as name,
       count(*) filter (where action_succeeded is not false) as done,
       count(*) filter (where action_succeeded is false) as failed
from cloudflare_audit_logs
where (action_type = 'login' or resource_product = 'login') and actor_ip is not null
group by 1 order by 2 desc, 1 limit 10""",
    "On which days were API tokens created?": """
select cast(event_time as date)::text as name,
       count(*) filter (where action_succeeded is not false) as done,
       count(*) filter (where action_succeeded is false) as failed
from cloudflare_audit_logs
where action_type = 'token_create' or (action_type = 'create' and resource_product = 'api_tokens')
group by 1 order by 1 desc limit 10""",
    "Which actions failed?": """
select action_type || ' ' || coalesce(resource_type, '') as name,
       count(*) filter (where action_succeeded is not false) as done,
       count(*) filter (where action_succeeded is false) as failed
from cloudflare_audit_logs
group by 1 having count(*) filter (where action_succeeded is false) > 0
order by 3 desc, 1 limit 10""",
}


def answers(path: str) -> dict[str, list[tuple[Any, ...]]]:
    """Returns the rows of each question for a DuckDB file; days are UTC days."""
    import duckdb

    with duckdb.connect(path) as database:
        database.execute("set TimeZone = 'UTC'")
        return {question: database.execute(query).fetchall() for question, query in QUESTIONS.items()}


with DAG(
    dag_id="cloudflare_audit_duckdb",
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    catchup=False,
    # A DuckDB file has one writer at a time, so more runs would only wait for each other.
    max_active_runs=1,
    default_args={"retries": 5, "retry_delay": timedelta(minutes=5)},
    tags=["cloudflare", "audit", "warehouse"],
    doc_md=__doc__,
):
    land = CloudflareAuditLogsToObjectStorageOperator(
        task_id="land_audit_log",
        destination=DESTINATION,
        file_format="parquet",
        schema="normalized",
        outlets=[audit_log_asset(DESTINATION)],
    )
    # Loads every committed window that is not loaded, so a day that failed is loaded by the next run.
    load = CloudflareAuditLogsToSqlOperator(task_id="load_audit_log", destination=DESTINATION, duckdb_path=DUCKDB)

    @task
    def ask() -> dict[str, list[tuple[Any, ...]]]:
        """Logs the answers, and returns them as the task's XCom."""
        found = answers(DUCKDB)
        for question, rows in found.items():
            log.info("%s", question)
            for name, done, failed in rows:
                log.info("    %s: %d succeeded, %d failed", name, done, failed)
        return found

    land >> load >> ask()
