"""Stitched history of a task: the descriptor that its arguments state, and one summary of what each version landed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from airflow_audit_provider._airflow.config import history_starts_at
from airflow_audit_provider.core.api.endpoints import V1, V2
from airflow_audit_provider.core.api.query import AuditQuery
from airflow_audit_provider.core.archive.stitching import (
    Stitching,
    StreamRun,
    check_cut_over,
    plan_streams,
    stitching_of,
)
from airflow_audit_provider.core.limits import DEFAULT_OVERLAP, STITCHED
from airflow_audit_provider.core.windows.run_window import RunWindow, read_bound
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import WindowNotSettledError

_SUMS = (
    "window_count",
    "committed_count",
    "record_count",
    "added_count",
    "part_count",
    "size_bytes",
    "missing_count",
    "odd_record_count",
    "type_mismatch_count",
    "lookback_windows",
    "late_count",
)
Summary = dict[str, Any]
# Lands the windows of one version and reads late records of it; returns the summary.
LandStream = Callable[[StreamRun], Summary]


def stitching_from(
    query: AuditQuery, cut_over: datetime | date | str | None, overlap: timedelta | None, timezone: str
) -> Stitching:
    """Returns the descriptor that a task's arguments state; ``query`` is that of either version.

    Raises ``ConfigurationError`` for a cut-over before version 2's history.
    """
    v2_starts_at = history_starts_at(V2)
    cut_over_at = read_bound("cut_over", cut_over, timezone) or v2_starts_at
    assert cut_over_at is not None, "the configuration has a default"
    check_cut_over(cut_over_at, v2_starts_at)
    return stitching_of(query.scope_id, query.filters, cut_over_at, overlap or DEFAULT_OVERLAP)


def land_streams(stitching: Stitching, windows: Sequence[RunWindow], land: LandStream) -> dict[str, Summary]:
    """Lands the windows of each version, version 1 first; returns the summary of each.

    Raises ``WindowNotSettledError`` when everything that is settled is committed in both.
    """
    summaries: dict[str, Summary] = {}
    unsettled: WindowNotSettledError | None = None
    for stream in plan_streams(stitching, windows):
        try:
            summaries[stream.version] = land(stream)
        except WindowNotSettledError as error:
            unsettled = error
    if unsettled is not None:
        raise unsettled
    return summaries


def stitched_summary(
    whole: TimeWindow, partition_by: str | None, stitching: Stitching, summaries: Mapping[str, Summary]
) -> Summary:
    """Returns the summary of a run: the sums over both versions, and the summary of each below ``streams``.

    ``manifest_uri`` is that of version 2, or that of version 1 if the run landed no window of version 2.
    """
    found = [summaries[version] for version in (V2, V1) if summaries.get(version)]
    uris = [one["manifest_uri"] for one in found if one.get("manifest_uri")]
    return {
        "window_start": whole.start.isoformat(),
        "window_end": whole.end.isoformat(),
        "history": STITCHED,
        **({"partition_by": partition_by} if partition_by is not None else {}),
        "cut_over": stitching.cut_over_at.isoformat(),
        "record_count": 0,
        "part_count": 0,
        "missing_count": 0,
        **{name: sum(one.get(name, 0) for one in found) for name in _SUMS if any(name in one for one in found)},
        "manifest_uri": uris[0] if uris else None,
        "committed": any(one.get("committed", False) for one in found),
        "streams": {version: summary for version, summary in summaries.items() if summary},
    }


def windows_without_v2(counts: Mapping[str, Mapping[TimeWindow, int]]) -> list[TimeWindow]:
    """Returns the windows of version 2 without a record of which version 1 has some, in order.

    ``counts`` are the numbers of records by version and window. The window that straddles the cut-over is cut in
    version 2 only, so windows of the two versions are the same if they end together.
    """
    v1_counts = {window.end: count for window, count in counts.get(V1, {}).items()}
    return [window for window, count in sorted(counts.get(V2, {}).items()) if not count and v1_counts.get(window.end)]
