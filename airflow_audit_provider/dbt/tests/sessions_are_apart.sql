-- The pause between two sessions of an actor is longer than the gap.
with ordered as (
    select *, lag(ended_at) over (partition by dataset, actor order by started_at) as previous_ended_at
    from {{ ref('audit_sessions') }}
)
select * from ordered
where started_at - previous_ended_at <= interval '{{ var("session_gap_minutes") }} minutes' or ended_at < started_at
