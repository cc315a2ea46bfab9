{# Windows whose newest load is not the one that a per-window model has. A load replaces all rows of its window, also
   when late records were added, so everything about such a window is computed again. #}
{% macro changed_windows(model) %}
    select ledger.dataset, ledger.window_start, ledger.window_end, ledger.manifest_sha256
    from {{ ref('audit_windows') }} as ledger
    {% if is_incremental() %}
    left join (select distinct dataset, window_start, window_end, manifest_sha256 from {{ model }}) as known
        on known.dataset = ledger.dataset
        and known.window_start = ledger.window_start
        and known.window_end = ledger.window_end
        and known.manifest_sha256 = ledger.manifest_sha256
    where known.dataset is null
    {% endif %}
{% endmacro %}

{# Removes the rows of windows that were loaded again, or that are no longer in the ledger, before new ones are added.
   If the run ends between the two, the windows are missing here and the next run computes them. #}
{% macro forget_changed_windows() %}
    {% if is_incremental() %}
    delete from {{ this }}
    where not exists (
        select 1 from {{ ref('audit_windows') }} as ledger
        where ledger.dataset = {{ this.identifier }}.dataset
        and ledger.window_start = {{ this.identifier }}.window_start
        and ledger.window_end = {{ this.identifier }}.window_end
        and ledger.manifest_sha256 = {{ this.identifier }}.manifest_sha256
    )
    {% endif %}
{% endmacro %}
