"""Pulls late records: reads recently committed windows again and adds the records that arrived since.

Invariant: a window is read again as it was committed; its commit changes only by added records.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

from airflow_audit_provider.adapters.cloudflare.reader import AuditLogReader
from airflow_audit_provider.core.archive.commit_log import generations_of_run, log_entries
from airflow_audit_provider.core.archive.manifest import Manifest
from airflow_audit_provider.core.archive.object_keys import WindowKeys, log_folder
from airflow_audit_provider.core.limits import check_lookback
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.windows.readiness import whole_windows_start_at
from airflow_audit_provider.core.windows.run_window import RunWindow
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.formats.part_format import committed_format
from airflow_audit_provider.pipelines.observer import Observer, PullOutcome
from airflow_audit_provider.pipelines.pull import pull_window
from airflow_audit_provider.pipelines.pull_spec import PullSpec
from airflow_audit_provider.pipelines.surroundings import CommittedDays

_RULE = "lookback"
_DAY = timedelta(days=1)
# Airflow keeps summaries in its metadata database.
_MOST_LISTED = 100
# Today's folder of the commit log, and those of the days before it on which an earlier attempt may have begun.
_LOG_DAYS = 3


class LookbackOutcome(NamedTuple):
    """The outcome of each window that was read again, oldest first.

    ``earlier`` are the windows to which an earlier attempt of the same run has added late records, and generations.
    """

    outcomes: tuple[PullOutcome, ...]
    earlier: AbstractSet[tuple[TimeWindow, int]] = frozenset()

    @property
    def _extended(self) -> list[Manifest]:
        """The manifests in force that this run has written, in any of its attempts."""
        return [
            outcome.manifest
            for outcome in self.outcomes
            if outcome.committed or (outcome.manifest.window, outcome.manifest.generation) in self.earlier
        ]

    @property
    def late_count(self) -> int:
        """Number of late records that were added, over all windows."""
        return sum(manifest.added_count for manifest in self._extended)

    def summary(self) -> dict[str, Any]:
        """Returns what goes into XComs and asset events.

        ``late_windows`` has the new generation of each window to which records were added, by the window's name; it is
        left out if there is none, and has the newest hundred if there are more.
        """
        figures = {"lookback_windows": len(self.outcomes), "late_count": self.late_count}
        listed = {manifest.keys.name: manifest.generation for manifest in self._extended[-_MOST_LISTED:]}
        return {**figures, "late_windows": listed} if listed else figures


def pull_late_records(
    spec: PullSpec, lookback: timedelta, reader: AuditLogReader, store: Store, observer: Observer
) -> LookbackOutcome:
    """Reads every committed window again that ends in ``(start - lookback, start]``, ``start`` being the spec's.

    A window that begins earlier is read whole, unless it begins more than a day, or the length of the spec's own
    window, before that range. Left out are windows of other audit logs, filters or privacy rules, and windows that the
    API no longer keeps whole. A window gets a next generation only if records were added. A run that erases reads no
    other window. Idempotent. Raises the errors of ``pull_window``; windows that were read before the error stay
    committed.
    """
    check_lookback(lookback)
    if spec.is_erasure:
        return LookbackOutcome(())
    window, oldest_at = spec.run_window.window, whole_windows_start_at(reader.clock.now())
    if spec.history_starts_at is not None:
        oldest_at = max(oldest_at, spec.history_starts_at)
    # Limited to what the API still keeps, so that a lookback of any length is allowed.
    since = max(window.start - min(lookback, window.start - oldest_at), oldest_at)
    days = _days_between(max(since - max(_DAY, window.length), oldest_at), window)
    held = CommittedDays(store, days)
    inside = [
        key
        for found, key in sorted(held.newest().items())
        if oldest_at <= found.start and since < found.end <= window.start and found.start >= days[1].window.start
    ]
    same = [
        (_spec_of(committed.manifest, spec), committed)
        for committed in held.read(inside)
        if committed.manifest.query == spec.query and committed.manifest.privacy == spec.privacy_entry
    ]
    outcomes = (
        pull_window(each, reader, store, observer, around)
        for (each, _), around in zip(same, held.around(same), strict=True)
    )
    read = tuple(outcomes)
    return LookbackOutcome(read, _added_earlier(spec, read, store, reader.clock.now()))


def _added_earlier(
    spec: PullSpec, outcomes: tuple[PullOutcome, ...], store: Store, now: datetime
) -> AbstractSet[tuple[TimeWindow, int]]:
    """Returns the windows and generations that earlier attempts of the run have committed, by the commit log."""
    if spec.run_id is None or all(outcome.committed or outcome.manifest.generation == 1 for outcome in outcomes):
        return frozenset()
    folders = [log_folder((now - number * _DAY).date()) for number in range(_LOG_DAYS)]
    listed = store.gather([partial(_keys_in, store, folder) for folder in folders])
    return generations_of_run(log_entries(key for keys in listed for key in keys), spec.run_id)


def _keys_in(store: Store, folder: str) -> list[str]:
    return list(store.list_keys(folder))


def _days_between(first_at: datetime, before: TimeWindow) -> list[WindowKeys]:
    """Returns the keys of whole UTC days: from the day before ``first_at`` to that on which a window starts."""
    midnight = first_at.replace(hour=0, minute=0, second=0, microsecond=0) - _DAY
    count = (before.start.date() - midnight.date()).days + 1
    days = [TimeWindow(midnight + number * _DAY, midnight + (number + 1) * _DAY) for number in range(count)]
    return [WindowKeys(day, day.start.date()) for day in days]


def _spec_of(committed: Manifest, spec: PullSpec) -> PullSpec:
    """Returns the spec that reads a committed window again: its own partition and format, settled, not replaced."""
    return spec._replace(
        run_window=RunWindow(committed.window, _RULE, committed.partition_date),
        part_format=committed_format(committed),
        settle_delay=timedelta(0),
        replace=False,
        erase_reason=None,
    )
