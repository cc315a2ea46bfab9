{{ config(materialized='incremental', incremental_strategy='append', pre_hook="{{ forget_changed_windows() }}") }}
-- The stretches of activity of each actor within each window, without a pause longer than the gap of sessions.
with changed as (
    {{ changed_windows(this) }}
),
records as (
    select records.*, changed.manifest_sha256,
           lag(records.event_time) over (
               partition by records.dataset, records.window_start, records.window_end, records.actor
               order by records.event_time, records.id
           ) as previous_time
    from {{ ref('audit_records') }} as records
    join changed
        on changed.dataset = records.dataset
        and changed.window_start = records.window_start
        and changed.window_end = records.window_end
),
numbered as (
    select *,
           sum(case when previous_time is null
                      or event_time - previous_time > interval '{{ var("session_gap_minutes") }} minutes'
                    then 1 else 0 end) over (
               partition by dataset, window_start, window_end, actor order by event_time, id
               rows between unbounded preceding and current row
           ) as stretch
    from records
)
select
    dataset, window_start, window_end, manifest_sha256, api_version, actor, stretch,
    min(event_time) as first_at,
    max(event_time) as last_at,
    count(*) as record_count,
    sum(case when is_failed then 1 else 0 end) as failed_count
from numbered
group by dataset, window_start, window_end, manifest_sha256, api_version, actor, stretch
