"""How far the loads of a destination have followed its commit log: which windows to look at, or all of them.

::

                 seen_at - 3 days                  seen_at       now
    log ─────────────┼────────────── settled ────────┼──── new ───┤
                     └─ entries that were settled are listed again, or the log is not the one that was followed

An attempt commits at most a day after its entry. So if something was committed after ``seen_at``, its entry is at most
a day older than ``seen_at``, or three days by a clock that is behind by two: it is among the listed ones.

Invariant: a window is left out only if each entry of the last days was settled when the window was last looked at.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta

from airflow_audit_provider.core.archive.commit_log import generation_in
from airflow_audit_provider.core.archive.object_keys import LogEntry
from airflow_audit_provider.core.warehouse.port import LedgerEntry, LoadPosition
from airflow_audit_provider.core.windows.window import TimeWindow

# Longest attempt, a day, and two more for the clocks of workers.
_HORIZON = timedelta(days=3)
# All manifests are listed again after this time, whatever the log says.
_LISTED_AGAIN = timedelta(days=7)
# A position that is later than now by more was written by a loader with another clock.
_CLOCK_MARGIN = timedelta(hours=1)
# The position is written again after this time although nothing has changed, so that the listings stay short.
_WRITTEN_AGAIN = timedelta(hours=12)


def first_day(seen_at: datetime) -> date:
    """Returns the first day of the log that a look after ``seen_at`` lists."""
    return (seen_at - _HORIZON).date()


def days_to_list(position: LoadPosition, window_count: int, days: Collection[str], now: datetime) -> list[str] | None:
    """Returns which days of the log to list, None if all manifests have to be listed instead.

    ``window_count`` is the number of windows in the ledger, ``days`` the days that the log has, as text.
    """
    is_recent = now - _LISTED_AGAIN < position.listed_at <= position.seen_at <= now + _CLOCK_MARGIN
    first = first_day(position.seen_at).isoformat()
    # A log younger than the first day is the one that was followed if it has the entries that were settled then.
    is_followed = min(days, default="9") <= first or bool(position.settled)
    # Fewer windows: entries of the ledger were removed, so that their windows are loaded again.
    if not is_recent or window_count < position.window_count or not is_followed:
        return None
    return sorted(day for day in days if day >= first)


def windows_to_look_at(position: LoadPosition, entries: Iterable[LogEntry]) -> set[TimeWindow] | None:
    """Returns the windows whose attempts are not known to be settled, None if the log lacks an entry that it had.

    It was removed, or the destination is another one with the same URI, or was emptied and landed anew.
    """
    found = {_digest(entry): entry.window for entry in entries}
    if not found.keys() >= position.settled:
        return None
    return {window for digest, window in found.items() if digest not in position.settled}


def touching(ledger: Iterable[LedgerEntry], windows: Iterable[TimeWindow]) -> list[LedgerEntry]:
    """Returns the ledger entries of windows that overlap one of ``windows``."""
    joined: list[TimeWindow] = []
    for window in sorted(windows):
        if joined and joined[-1].end >= window.start:
            joined[-1] = TimeWindow(joined[-1].start, max(joined[-1].end, window.end))
        else:
            joined.append(window)
    starts = [window.start for window in joined]
    return [entry for entry in ledger if _overlaps(entry.window, joined, starts)]


def _overlaps(window: TimeWindow, joined: Sequence[TimeWindow], starts: Sequence[datetime]) -> bool:
    before_end = bisect_left(starts, window.end)
    return before_end > 0 and joined[before_end - 1].end > window.start


def settled(
    entries: Iterable[LogEntry], newest: Mapping[TimeWindow, str], known: Collection[str], seen_at: datetime
) -> frozenset[str]:
    """Returns the digests of the settled entries that the look after ``seen_at`` lists again.

    ``newest`` are the keys of the newest manifests that were listed, ``known`` the digests of entries that were settled
    before. An entry is settled if the generation that its attempt may commit exists.
    """
    recent = {_digest(entry): entry for entry in entries if entry.at.date() >= first_day(seen_at)}
    return frozenset(
        digest
        for digest, entry in recent.items()
        if digest in known or generation_in(newest, entry) >= entry.generation
    )


def is_worth_writing(position: LoadPosition, before: LoadPosition | None) -> bool:
    """Returns whether a position differs enough from the one before to be written."""
    if before is None or position.settled != before.settled or position.window_count < before.window_count:
        return True
    ages = (position.seen_at - before.seen_at, position.listed_at - before.listed_at)
    return not all(timedelta(0) <= age <= _WRITTEN_AGAIN for age in ages)


def _digest(entry: LogEntry) -> str:
    return hashlib.sha256(entry.key.encode()).hexdigest()[:16]
