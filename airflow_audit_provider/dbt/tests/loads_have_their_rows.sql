-- Each window of the ledger has as many rows as its newest load states, and no other window has rows.
with rows_of as (
    select dataset, window_start, window_end, count(*) as counted
    from {{ source('cloudflare_audit_logs', 'records') }} group by dataset, window_start, window_end
)
select windows.dataset, windows.window_start, rows_of.counted
from {{ ref('audit_windows') }} as windows
full outer join rows_of
    on rows_of.dataset = windows.dataset and rows_of.window_start = windows.window_start
    and rows_of.window_end = windows.window_end
where coalesce(windows.record_count, 0) <> coalesce(rows_of.counted, 0)
