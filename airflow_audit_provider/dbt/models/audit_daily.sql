-- One row for each UTC day on which something happened.
with first_days as (
    select dataset, kind, cast(first_seen_at at time zone 'UTC' as date) as event_date, count(*) as new_count
    from {{ ref('audit_first_seen') }}
    group by dataset, kind, cast(first_seen_at at time zone 'UTC' as date)
),
days as (
    select
        dataset, event_date, min(api_version) as api_version,
        sum(case when kind = 'all' then record_count else 0 end) as record_count,
        sum(case when kind = 'all' then failed_count else 0 end) as failed_count,
        count(distinct case when kind = 'actor' then value end) as actor_count,
        count(distinct case when kind = 'network' then value end) as network_count,
        count(distinct case when kind = 'token' then value end) as token_count,
        count(distinct case when kind = 'action' then value end) as action_count
    from {{ ref('audit_window_values') }}
    group by dataset, event_date
)
select
    md5(days.dataset || '|' || cast(days.event_date as varchar)) as day_id,
    days.dataset, days.event_date, days.api_version, days.record_count, days.failed_count,
    days.actor_count, days.network_count, days.token_count, days.action_count,
    {% for kind in ['actor', 'network', 'token', 'action'] %}
    coalesce(max(case when first_days.kind = '{{ kind }}' then first_days.new_count end), 0) as new_{{ kind }}_count{{ ',' if not loop.last }}
    {% endfor %}
from days
left join first_days on first_days.dataset = days.dataset and first_days.event_date = days.event_date
group by days.dataset, days.event_date, days.api_version, days.record_count, days.failed_count,
         days.actor_count, days.network_count, days.token_count, days.action_count
