"""The use case of late records: read windows again that were committed a short while ago.

Knows: which committed windows lie in a lookback. Must not know: Airflow, how a window is pulled (``pipeline``).
Its one rule: a window is read again as it was committed; its commit changes only by records that are added.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from airflow_audit_provider.adapters.cloudflare.reader import AuditLogReader
from airflow_audit_provider.core.archive.manifest import Manifest
from airflow_audit_provider.core.archive.object_keys import WindowKeys, newest_manifests
from airflow_audit_provider.core.limits import check_lookback
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.windows.readiness import whole_windows_start_at
from airflow_audit_provider.core.windows.run_window import RunWindow
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.formats.part_format import committed_format
from airflow_audit_provider.pipelines.committed import read_committed
from airflow_audit_provider.pipelines.observer import Observer, PullOutcome
from airflow_audit_provider.pipelines.pull import pull_window
from airflow_audit_provider.pipelines.pull_spec import PullSpec

_RULE = "lookback"
_DAY = timedelta(days=1)


class LookbackOutcome(NamedTuple):
    """What became of each window that was read again, oldest first."""

    outcomes: tuple[PullOutcome, ...]

    @property
    def late_count(self) -> int:
        """How many late records were added, in all windows together."""
        return sum(outcome.manifest.added_count for outcome in self.outcomes if outcome.committed)

    def summary(self) -> dict[str, int]:
        """Return the figures that travel in XComs and asset events."""
        return {"lookback_windows": len(self.outcomes), "late_count": self.late_count}


def pull_late_records(
    order: PullSpec, lookback: timedelta, source: AuditLogReader, store: Store, observer: Observer
) -> LookbackOutcome:
    """Read every committed window again that ends in ``(window.start - lookback, window.start]`` of an order.

    One that begins before that is read whole, if by no more than a day or the length of the order's own window. Windows
    of other audit logs, filters or privacy rules, and those that the API no longer keeps whole, are left out. Each
    commits a next generation only when records were added. Idempotent; raises what ``pull_window`` raises, and windows
    that were read before stay committed.
    """
    check_lookback(lookback)
    window, oldest_at = order.run_window.window, whole_windows_start_at(source.clock.now())
    # Cut where nothing can be read any more, so that any length of time may be given.
    since = max(window.start - min(lookback, window.start - oldest_at), oldest_at)
    committed = _committed_between(store, since, window, oldest_at)
    same = [
        manifest
        for manifest in committed
        if manifest.query == order.query and manifest.privacy == order.applied_privacy
    ]
    return LookbackOutcome(tuple(pull_window(_again(order, manifest), source, store, observer) for manifest in same))


def _committed_between(store: Store, since: datetime, before: TimeWindow, oldest_at: datetime) -> Iterator[Manifest]:
    """Yield the newest manifest of every window that ends after ``since`` and not after ``before`` starts.

    Oldest window first; none that starts before ``oldest_at``.
    """
    first_at = max(since - max(_DAY, before.length), oldest_at)
    days = range((before.start.date() - first_at.date()).days + 1)
    folders = [
        WindowKeys(TimeWindow(first_at + day * _DAY, first_at + (day + 1) * _DAY), first_at.date()) for day in days
    ]
    listed = [key for folder in folders for key in store.list_keys(folder.manifest_prefix)]
    for window, key in sorted(newest_manifests(listed).items()):
        if oldest_at <= window.start and since < window.end <= before.start:
            yield read_committed(store, key).manifest


def _again(order: PullSpec, committed: Manifest) -> PullSpec:
    """Return the order for a committed window: its own place and format, settled already, never replaced."""
    return order._replace(
        run_window=RunWindow(committed.window, _RULE, committed.partition_date),
        part_format=committed_format(committed),
        settle_delay=timedelta(0),
        replace=False,
    )
