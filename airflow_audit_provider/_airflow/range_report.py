"""Report of a task that writes many windows: one summary of bounded size for the XCom, and one line for the log."""

from __future__ import annotations

from typing import Any

from airflow_audit_provider._airflow.observability.log_lines import size_text, window_text
from airflow_audit_provider.core.windows.window import TimeWindow, count_of
from airflow_audit_provider.pipelines.pull_range import RangeOutcome


def range_summary(
    whole: TimeWindow, partition_by: str, outcome: RangeOutcome, manifest_uri: str | None
) -> dict[str, Any]:
    """Returns the summary of a range, which lists the first hundred windows that the run has committed."""
    return {
        "window_start": whole.start.isoformat(),
        "window_end": whole.end.isoformat(),
        "partition_by": partition_by,
        "window_count": outcome.window_count,
        "committed_count": outcome.committed_count,
        "record_count": outcome.record_count,
        "added_count": outcome.added_count,
        "part_count": outcome.part_count,
        "size_bytes": outcome.size_bytes,
        "missing_count": outcome.missing_count,
        "odd_record_count": outcome.odd_record_count,
        "manifest_uri": manifest_uri,
        "committed": outcome.committed_count > 0,
        "windows": [[each.start.isoformat(), each.record_count, each.manifest_key] for each in outcome.listed],
    }


def range_line(whole: TimeWindow, outcome: RangeOutcome) -> str:
    """Returns what a run has added, and what the range has now."""
    total = f"{count_of(outcome.record_count, 'record')} in {count_of(outcome.window_count, 'window')}"
    held = f"{window_text(whole)} has {total} ({size_text(outcome.size_bytes)})"
    if not outcome.committed_count:
        return f"Nothing new: {held}"
    added = count_of(outcome.added_count, "record")
    return f"Committed {added} in {count_of(outcome.committed_count, 'window')}; {held}"
