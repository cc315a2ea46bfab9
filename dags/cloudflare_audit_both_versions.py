"""Keeps both versions of the API as one history, loads them into one DuckDB table, and pairs records of one action.

Version 1 has the values before and after a change. Version 2 has the request: its path, user agent and token. The view
`cloudflare_audit_actions` has one row for each action: with the records of both versions if both are found, otherwise
with the only one. No record is left out, and none is in two rows.

Needs the extras `parquet` and `duckdb`. The view also runs on PostgreSQL.

Settings: AUDIT_HISTORY_DESTINATION (where Parquet is written), AUDIT_DUCKDB (the DuckDB file).

`overlap=timedelta.max` keeps version 1 for as long as it exists; by default it is kept for a day after the cut-over.
"""

from __future__ import annotations

import os
from datetime import timedelta

from airflow.sdk import DAG, task
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_audit_provider.assets.audit_logs import audit_log_asset
from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator
from airflow_audit_provider.operators.warehouses import CloudflareAuditLogsToSqlOperator

DESTINATION = os.environ.get("AUDIT_HISTORY_DESTINATION", "file:///tmp/cloudflare-audit/history")
DUCKDB = os.environ.get("AUDIT_DUCKDB", "/tmp/cloudflare-audit/audit.duckdb")  # noqa: S108 - for a first try

# Records of one action have the same ray id; or the same resource, and times at most 30 seconds apart; or, if one of
# them names no resource, the same actor, zone and kind of action. A ray id, actor or kind that both name must agree.
# Two records are a pair if each of them is the nearest match of the other.
ACTIONS_VIEW = """
create or replace view cloudflare_audit_actions as
with
words as (
    select *, ' ' || replace(replace(lower(action_type), '_', ' '), '.', ' ') || ' ' as words
    from cloudflare_audit_logs
),
records as (
    select *,
           case when right(dataset, 3) in ('/v1', '/v2') then left(dataset, length(dataset) - 3) else dataset end
               as history,
           coalesce(ray_id, nullif(split_part(split_part(metadata, '"ray_id"', 2), '"', 2), '')) as ray,
           lower(coalesce(actor_email, actor_id)) as actor,
           case when words like '% add %' or words like '% create %' or words like '% upload %' then 'create'
                when words like '% del %' or words like '% delete %' or words like '% remove %' then 'delete'
                when words like '% set %' or words like '% edit %' or words like '% change %'
                     or words like '% update %' or words like '% modify %' then 'update' end as kind
    from words
),
v1 as (select * from records where api_version = 'v1'),
v2 as (select * from records where api_version = 'v2'),
matches as (
    select v1.dataset as v1_dataset, v1.id as v1_id, v2.dataset as v2_dataset, v2.id as v2_id, 1 as grade,
           abs(extract(epoch from v2.event_time) - extract(epoch from v1.event_time)) as apart
    from v1 join v2 on v2.history = v1.history and v2.ray = v1.ray
    union all
    select v1.dataset, v1.id, v2.dataset, v2.id, 2,
           abs(extract(epoch from v2.event_time) - extract(epoch from v1.event_time))
    from v1 join v2 on v2.history = v1.history and v2.resource_id = v1.resource_id
    where v2.event_time between v1.event_time - interval '30 seconds' and v1.event_time + interval '30 seconds'
      and (v1.actor = v2.actor) is not false and (v1.kind = v2.kind) is not false and (v1.ray = v2.ray) is not false
    union all
    select v1.dataset, v1.id, v2.dataset, v2.id, 3,
           abs(extract(epoch from v2.event_time) - extract(epoch from v1.event_time))
    from v1 join v2 on v2.history = v1.history and v2.actor = v1.actor and v2.zone_id = v1.zone_id and v1.kind = v2.kind
    where v2.event_time between v1.event_time - interval '30 seconds' and v1.event_time + interval '30 seconds'
      and (v1.resource_id is null or v2.resource_id is null) and (v1.ray = v2.ray) is not false
),
ranked as (
    select *,
           row_number() over (partition by v1_dataset, v1_id order by grade, apart, v2_dataset, v2_id) as v1_rank,
           row_number() over (partition by v2_dataset, v2_id order by grade, apart, v1_dataset, v1_id) as v2_rank
    from matches
),
pairs as (select * from ranked where v1_rank = 1 and v2_rank = 1)
select coalesce(v2.event_time, v1.event_time) as event_time,
       coalesce(v2.history, v1.history) as history,
       v1.id as v1_id, v2.id as v2_id,
       case pairs.grade when 1 then 'ray' when 2 then 'resource' when 3 then 'zone' end as paired_by,
       pairs.apart as seconds_apart,
       coalesce(v2.actor_email, v1.actor_email) as actor_email,
       coalesce(v2.actor_id, v1.actor_id) as actor_id,
       coalesce(v2.actor_ip, v1.actor_ip) as actor_ip,
       v2.actor_token_name, v2.user_agent,
       v1.action_type as v1_action_type, v2.action_type as v2_action_type,
       coalesce(v2.action_succeeded, v1.action_succeeded) as action_succeeded,
       coalesce(v2.zone_name, v1.zone_name) as zone_name,
       coalesce(v2.resource_id, v1.resource_id) as resource_id,
       v1.resource_type as v1_resource_type, v2.resource_product, v2.resource_type as v2_resource_type,
       v2.request_method, v2.request_uri, coalesce(v2.ray, v1.ray) as ray_id,
       v1.before, v1.after,
       v1.raw as v1_raw, v2.raw as v2_raw
from v1
left join pairs on pairs.v1_dataset = v1.dataset and pairs.v1_id = v1.id
full join v2 on pairs.v2_dataset = v2.dataset and pairs.v2_id = v2.id
"""


with DAG(
    dag_id="cloudflare_audit_both_versions",
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
        history="stitched",
        overlap=timedelta.max,
        lookback=timedelta(days=3),
        file_format="parquet",
        schema="normalized",
        outlets=[audit_log_asset(DESTINATION)],
    )
    load = CloudflareAuditLogsToSqlOperator(task_id="load_audit_log", destination=DESTINATION, duckdb_path=DUCKDB)

    @task
    def create_view() -> dict[str, int]:
        """Creates the view; returns the number of its rows, and how many of them have a record of each version."""
        import duckdb

        with duckdb.connect(DUCKDB) as database:
            database.execute(ACTIONS_VIEW)
            counts = database.execute("select count(*), count(paired_by) from cloudflare_audit_actions").fetchone()
        return {"actions": counts[0], "paired": counts[1]} if counts else {}

    land >> load >> create_view()
