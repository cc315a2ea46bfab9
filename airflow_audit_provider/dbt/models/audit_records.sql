{{ config(materialized='view') }}
-- Each record, with what the other models group by.
select
    dataset, window_start, window_end, id, event_time, api_version,
    cast(event_time at time zone 'UTC' as date) as event_date,
    coalesce(nullif(lower(actor_email), ''), nullif(actor_id, ''), nullif(actor_token_id, ''), nullif(actor_type, ''),
             'unknown') as actor,
    case when actor_ip like '%:%'
         then split_part(actor_ip, ':', 1) || ':' || split_part(actor_ip, ':', 2) || '::/32'
         when actor_ip like '%.%.%.%'
         then split_part(actor_ip, '.', 1) || '.' || split_part(actor_ip, '.', 2) || '.0.0/16' end as network,
    nullif(actor_token_id, '') as token,
    trim(coalesce(action_type, '') || ' ' || coalesce(resource_product, resource_type, '')) as action,
    (action_succeeded is false) as is_failed
from {{ source('cloudflare_audit_logs', 'records') }}
