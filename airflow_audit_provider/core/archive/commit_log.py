"""Commit log of a destination: which attempts may have committed lately, found by a listing of some days.

::

    entry ──► part ──► manifest           an attempt that was killed leaves an entry without a manifest

A sweep learns from it which attempts may be about to commit, and a loader which windows may have changed.

Invariant: the log proves nothing and is no part of the commit; a manifest of which it has no entry is found by a
listing of all manifests.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from airflow_audit_provider.core.archive.object_keys import LogEntry, read_log_key, read_manifest_key
from airflow_audit_provider.core.windows.window import TimeWindow

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
# An attempt that commits later than this after its entry writes another one first.
LONGEST_ATTEMPT = timedelta(days=1)
# An attempt that took longer from its entry to its manifest looks for its parts itself: a sweep need not wait for it.
SWEEP_MARGIN = timedelta(minutes=30)
# An entry is no sign of an active attempt after this age, or after the age that a sweep is given if that is longer.
LEAST_ACTIVE = timedelta(hours=1)
# A sweep removes the days of the log that are older.
KEPT = timedelta(days=30)


def active_windows(entries: Iterable[LogEntry], newest: Mapping[TimeWindow, str], since: datetime) -> set[TimeWindow]:
    """Returns the windows of which an attempt since an instant may still commit.

    ``newest`` are the keys of the newest manifests: an attempt whose generation exists commits nothing any more.
    """
    return {entry.window for entry in entries if entry.at >= since and entry.generation > generation_in(newest, entry)}


def generation_in(newest: Mapping[TimeWindow, str], entry: LogEntry) -> int:
    """Returns the newest generation of an entry's window, 0 if the window is not committed."""
    named = read_manifest_key(newest.get(entry.window, ""))
    return 0 if named is None else named.generation


def generations_of_run(entries: Iterable[LogEntry], run_id: str) -> set[tuple[TimeWindow, int]]:
    """Returns the generations that only attempts of one run may have committed; their ids begin with ``run_id``."""
    entries = list(entries)
    others = {(entry.window, entry.generation) for entry in entries if not entry.attempt_id.startswith(run_id)}
    return {(entry.window, entry.generation) for entry in entries} - others


def log_days(names: Iterable[str]) -> list[str]:
    """Returns the days of the log among the names of its folders, sorted."""
    return sorted(name for name in names if _DAY.fullmatch(name))


def log_entries(keys: Iterable[str]) -> Iterator[LogEntry]:
    """Yields the entries among some keys."""
    return (entry for entry in map(read_log_key, keys) if entry is not None)


def expired_entries(keys: Iterable[str], now: datetime) -> set[str]:
    """Returns the keys of entries to remove: those of old days, but for the newest day.

    The newest day shows a loader that no entry is missing since then.
    """
    entries = list(log_entries(keys))
    newest_day = max((entry.at.date() for entry in entries), default=None)
    return {entry.key for entry in entries if entry.at.date() != newest_day and entry.at < now - KEPT}
