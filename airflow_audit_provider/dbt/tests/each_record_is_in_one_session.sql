-- Each record of a dataset is in exactly one session.
with sessions as (
    select dataset, sum(record_count) as counted, sum(failed_count) as failed from {{ ref('audit_sessions') }} group by dataset
),
records as (
    select dataset, count(*) as counted, sum(case when is_failed then 1 else 0 end) as failed
    from {{ ref('audit_records') }} group by dataset
)
select records.dataset, records.counted, sessions.counted as in_sessions
from records left join sessions on sessions.dataset = records.dataset
where sessions.counted is null or sessions.counted <> records.counted or sessions.failed <> records.failed
