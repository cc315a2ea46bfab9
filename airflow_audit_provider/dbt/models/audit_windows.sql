{{ config(materialized='view') }}
-- The newest load of each window. The digest of its manifest changes whenever the window's records do.
select dataset, window_start, window_end, manifest_sha256, record_count
from (
    select *, row_number() over (partition by dataset, window_start, window_end order by load_number desc) as place
    from {{ source('cloudflare_audit_logs', 'loads') }}
) as numbered
where place = 1
