{{ config(materialized='incremental', incremental_strategy='append', pre_hook="{{ forget_changed_windows() }}") }}
-- How often each value occurs on each day of each window. Computed again for windows that were loaded again.
with changed as (
    {{ changed_windows(this) }}
),
records as (
    select records.*, changed.manifest_sha256
    from {{ ref('audit_records') }} as records
    join changed
        on changed.dataset = records.dataset
        and changed.window_start = records.window_start
        and changed.window_end = records.window_end
),
named as (
    select dataset, window_start, window_end, manifest_sha256, event_date, event_time, api_version, is_failed,
           'all' as kind, 'all' as value from records
    {% for kind in ['actor', 'network', 'token', 'action'] %}
    union all
    select dataset, window_start, window_end, manifest_sha256, event_date, event_time, api_version, is_failed,
           '{{ kind }}', {{ kind }} from records where {{ kind }} is not null and {{ kind }} <> ''
    {% endfor %}
)
select
    dataset, window_start, window_end, manifest_sha256, event_date, api_version, kind, value,
    min(event_time) as first_at,
    max(event_time) as last_at,
    count(*) as record_count,
    sum(case when is_failed then 1 else 0 end) as failed_count
from named
group by dataset, window_start, window_end, manifest_sha256, event_date, api_version, kind, value
