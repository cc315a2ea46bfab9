-- Sessions of each actor: stretches of activity of all windows, joined where the pause between them is short enough.
with stretches as (
    select *,
           max(last_at) over (
               partition by dataset, actor order by first_at, last_at, window_start
               rows between unbounded preceding and 1 preceding
           ) as previous_last_at
    from {{ ref('audit_window_activity') }}
),
numbered as (
    select *,
           sum(case when previous_last_at is null
                      or first_at - previous_last_at > interval '{{ var("session_gap_minutes") }} minutes'
                    then 1 else 0 end) over (
               partition by dataset, actor order by first_at, last_at, window_start
               rows between unbounded preceding and current row
           ) as session_number
    from stretches
)
select
    md5(dataset || '|' || actor || '|' || cast(extract(epoch from min(first_at)) as varchar)) as session_id,
    dataset,
    min(api_version) as api_version,
    actor,
    min(first_at) as started_at,
    max(last_at) as ended_at,
    sum(record_count) as record_count,
    sum(failed_count) as failed_count
from numbered
group by dataset, actor, session_number
