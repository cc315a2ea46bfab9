"""Lines of the task log that people read: what was committed, loaded or found, in words.

Airflow's log page cuts a long line at the width of the screen, so the outcome and the counts come first.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_audit_provider.core.warehouse.alerts import level_counts
from airflow_audit_provider.core.warehouse.detections import DetectionCommit
from airflow_audit_provider.core.windows.window import TimeWindow, count_of, format_instant

if TYPE_CHECKING:
    from airflow_audit_provider.pipelines.load import LoadedWindow, LoadOutcome
    from airflow_audit_provider.pipelines.observer import PullOutcome

_DAY = timedelta(days=1)
_UNITS = ((10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


def size_text(size_bytes: int) -> str:
    """Returns a size with at most three digits, in decimal units, e.g. ``274 kB`` or ``1.5 MB``."""
    for factor, unit in _UNITS:
        if size_bytes >= factor:
            size = size_bytes / factor
            return f"{size:.1f} {unit}" if size < 10 else f"{size:.0f} {unit}"
    return count_of(size_bytes, "byte")


def window_text(window: TimeWindow) -> str:
    """Returns ``2026-11-23`` for a UTC day, otherwise both bounds, e.g. ``2026-11-23T00:00:00Z to …``."""
    if window.end - window.start == _DAY and window.start.time() == datetime.min.time():
        return window.start.date().isoformat()
    return f"{format_instant(window.start)} to {format_instant(window.end)}"


def commit_line(outcome: PullOutcome, destination: str, seconds: float) -> str:
    """Returns the outcome of one window: what is new, how much, where, and what reading it took."""
    manifest = outcome.manifest
    window, records = window_text(manifest.window), count_of(manifest.record_count, "record")
    if not outcome.committed:
        return f"Nothing new for {window}: {destination} has its {records} already, {seconds:.1f} s"
    # With partition_by, a page that several windows share counts in the first of them.
    count = manifest.fetch.request_count
    requests = count_of(count, "request") if count else "no request of its own"
    if not manifest.record_count:
        return f"Committed an empty window for {window}: the API has no records, {requests}, {seconds:.1f} s"
    size = f"{size_text(manifest.size_bytes)}, {count_of(len(manifest.parts), 'part')}"
    if manifest.generation == 1:
        return f"Committed {records} ({size}) for {window} to {destination}, {requests}, {seconds:.1f} s"
    added = count_of(manifest.added_count, "record")
    return (
        f"Committed generation {manifest.generation} with {added} for {window} to {destination}: {records} in all "
        f"({size}), {requests}, {seconds:.1f} s"
    )


def detection_line(commit: DetectionCommit) -> str:
    """Returns what a commit of detections has found, and on how much."""
    records = sum(commit.windows.values())
    counts = ", ".join(f"{count:,} {level}" for level, count in level_counts(commit.alert_files).items())
    found = f"{count_of(commit.alert_count, 'alert')} ({counts})" if commit.alert_count else "no alert"
    return (
        f"Detections {commit.number}: {found} in {count_of(records, 'record')} of "
        f"{count_of(len(commit.windows), 'window')}"
    )


def event_line(summary: Mapping[str, Any]) -> str:
    """Returns the window and the counts of a summary, for the list of an asset's events."""
    bounds = (datetime.fromisoformat(summary[name]) for name in ("window_start", "window_end"))
    records = count_of(summary["record_count"], "record") if summary["record_count"] else "no records"
    is_new = summary["added_count"] == summary["record_count"]
    added = "" if is_new else f", {summary['added_count']:,} of them new"
    return f"{window_text(TimeWindow(*bounds))}: {records}{added}"


def load_line(outcome: LoadOutcome, table: str) -> str:
    """Returns what a load wrote into a table, and how many of the requested windows were loaded before."""
    before = f"; {count_of(outcome.unchanged_count, 'window')} loaded before" if outcome.unchanged_count else ""
    if not outcome.loaded:
        return f"Nothing new to load into {table}{before}"
    records, windows = count_of(outcome.record_count, "record"), count_of(len(outcome.loaded), "window")
    return f"Loaded {records} of {windows} into {table}{before}"


def loaded_window_line(loaded: LoadedWindow) -> str:
    """Returns which generation of a window was loaded, how many records it has, and what it replaced."""
    replaced = f", replacing generation {loaded.replaced_generation}" if loaded.replaced_generation else ""
    anew = " of an earlier landing: the window was landed anew" if loaded.is_landed_anew else ""
    records, window = count_of(loaded.record_count, "record"), window_text(loaded.window)
    return f"Loaded {records} of {window}, generation {loaded.generation}{replaced}{anew}"


def activity_line(activity: Mapping[str, Any], minimum_count: int) -> str:
    """Returns what a poll found, and whether that is enough; ``activity`` is the summary of the count."""
    found = f"Found {count_of(activity['record_count'], 'new record')} since {activity['since']}"
    if activity["record_count"] >= minimum_count:
        return f"{found}, the newest seen at {activity['last_event_at']}"
    return f"{found}; waiting for {minimum_count:,}"
