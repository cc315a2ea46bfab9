"""The use case of late records: read windows again that were committed a short while ago.

Knows: which committed windows lie in a lookback. Must not know: Airflow, how a window is pulled (``pipeline``).
Its one rule: a window is read again as it was committed; its commit changes only by records that are added.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from airflow_audit_provider.adapters.source import Source
from airflow_audit_provider.commits import read_commit
from airflow_audit_provider.core.keys import WindowKeys, newest_manifests
from airflow_audit_provider.core.manifest import Manifest
from airflow_audit_provider.core.planning import whole_windows_start_at
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.run_window import RunWindow
from airflow_audit_provider.core.window import TimeWindow
from airflow_audit_provider.exceptions import ConfigurationError
from airflow_audit_provider.formats.part_format import committed_format
from airflow_audit_provider.orders import Observer, PullOrder, PullOutcome
from airflow_audit_provider.pipeline import pull_window

_RULE = "lookback"
_DAY = timedelta(days=1)


class LookedBack(NamedTuple):
    """What became of each window that was read again, oldest first."""

    outcomes: tuple[PullOutcome, ...]

    @property
    def late_count(self) -> int:
        """How many late records were added, in all windows together."""
        return sum(outcome.manifest.added_count for outcome in self.outcomes if outcome.committed)

    def summary(self) -> dict[str, int]:
        """Return the figures that travel in XComs and asset events."""
        return {"lookback_windows": len(self.outcomes), "late_count": self.late_count}


def refuse_lookback(lookback: object) -> None:
    """Raise ``ConfigurationError`` for a lookback that is no length of time, or less than nothing."""
    if lookback is not None and (not isinstance(lookback, timedelta) or lookback < timedelta(0)):
        raise ConfigurationError(f"lookback is {lookback!r}. Give zero or more, as a timedelta, or leave it out.")


def look_back(order: PullOrder, lookback: timedelta, source: Source, store: Store, observe: Observer) -> LookedBack:
    """Read every committed window again that lies whole in ``[window.start - lookback, window.start)`` of an order.

    Windows of other audit logs, filters or privacy rules, and those that the API no longer keeps whole, are left out.
    Each commits a next generation only when records were added. Idempotent; raises what ``pull_window`` raises, and
    windows that were read before stay committed.
    """
    refuse_lookback(lookback)
    since = _since(order.run_window.window, lookback, source.clock.now())
    committed = _committed_between(store, since, order.run_window.window.start)
    same = [
        manifest for manifest in committed if manifest.query == order.query and manifest.privacy == order.privacy_stamp
    ]
    return LookedBack(tuple(pull_window(_again(order, manifest), source, store, observe) for manifest in same))


def _since(window: TimeWindow, lookback: timedelta, now: datetime) -> datetime:
    """Return where a lookback begins: never before the oldest window that is surely still whole."""
    return window.start - max(min(lookback, window.start - whole_windows_start_at(now)), timedelta(0))


def _committed_between(store: Store, start: datetime, end: datetime) -> Iterator[Manifest]:
    """Yield the newest manifest of every window that lies in ``[start, end)``, oldest window first."""
    days = range((end.date() - start.date()).days + 1)
    folders = [WindowKeys(TimeWindow(start + day * _DAY, start + (day + 1) * _DAY), start.date()) for day in days]
    listed = [key for folder in folders for key in store.list_keys(folder.manifest_prefix)]
    for window, key in sorted(newest_manifests(listed).items()):
        if start <= window.start and window.end <= end:
            yield read_commit(store, key).manifest


def _again(order: PullOrder, committed: Manifest) -> PullOrder:
    """Return the order for a committed window: its own place and format, settled already, never replaced."""
    return order._replace(
        run_window=RunWindow(committed.window, _RULE, committed.partition_date),
        part_format=committed_format(committed),
        settle_delay=timedelta(0),
        replace=False,
    )
