-- The counts of each day agree with its records.
with records as (
    select dataset, event_date, count(*) as counted, count(distinct actor) as actors, count(distinct network) as networks
    from {{ ref('audit_records') }} group by dataset, event_date
)
select records.dataset, records.event_date
from records
full outer join {{ ref('audit_daily') }} as days
    on days.dataset = records.dataset and days.event_date = records.event_date
where records.counted is null or days.record_count is null
   or days.record_count <> records.counted or days.actor_count <> records.actors or days.network_count <> records.networks
