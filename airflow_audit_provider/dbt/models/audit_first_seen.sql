-- When each actor, network, token and action was first and last seen. A late record moves the first time back.
select
    md5(dataset || '|' || kind || '|' || value) as first_seen_id,
    dataset,
    kind,
    value,
    min(first_at) as first_seen_at,
    max(last_at) as last_seen_at,
    sum(record_count) as record_count
from {{ ref('audit_window_values') }}
where kind <> 'all'
group by dataset, kind, value
