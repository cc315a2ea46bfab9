"""Finds the windows that are committed and not loaded: by the commit log, or by a listing of all manifests.

::

    position   what loads of the destination have seen of its log, in the warehouse
    log        the entries of the last days: windows that may have changed since then
    manifests  of these windows; all of them at first, once a week, and whenever the log may lack an entry

Invariant: the position is written only after everything that was found pending is loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from airflow_audit_provider.core.archive.commit_log import log_days, log_entries
from airflow_audit_provider.core.archive.object_keys import (
    COMMIT_LOG_FOLDER,
    MANIFEST_FOLDER,
    LogEntry,
    WindowKeys,
    newest_manifests,
    read_manifest_key,
)
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.warehouse.load_plan import LoadPlan
from airflow_audit_provider.core.warehouse.log_position import (
    days_to_list,
    first_day,
    is_worth_writing,
    settled,
    touching,
    windows_to_look_at,
)
from airflow_audit_provider.core.warehouse.port import LedgerEntry, LoadLedger, LoadPosition
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import WarehouseBusyError
from airflow_audit_provider.pipelines.side_by_side import list_each

# More folders are not listed one by one: a listing of everything takes fewer calls than this.
_MOST_FOLDERS = 62

PlanFor = Callable[[tuple[str, ...], list[LedgerEntry]], LoadPlan]


class Pending(NamedTuple):
    """The plan for all pending windows, and the position after it is carried out, None if it need not be written."""

    plan: LoadPlan
    position: LoadPosition | None


class PendingWindows:
    """Plans the pending windows of a destination in one warehouse, or in the ledger of its detections.

    ``plan_for`` compares manifests with the ledger.
    """

    def __init__(self, dataset: str, destination: str, store: Store, warehouse: LoadLedger, plan_for: PlanFor) -> None:
        self._dataset = dataset
        self._destination = destination
        self._store = store
        self._warehouse = warehouse
        self._plan_for = plan_for

    def find(self, now: datetime) -> Pending:
        """Returns the plan; raises what planning raises."""
        before = self._warehouse.position(self._dataset, self._destination)
        found = None if before is None else self._by_log(before, now)
        return self._by_manifests(before, now) if found is None else found

    def remember(self, pending: Pending) -> None:
        """Writes the position, after all of the plan is loaded."""
        if pending.position is None:
            return
        new_count = sum(load.replaced is None for load in pending.plan.loads)
        position = pending.position._replace(window_count=pending.position.window_count + new_count)
        try:
            self._warehouse.remember(self._dataset, self._destination, position)
        except WarehouseBusyError:
            # Another loader is writing one, too. With an older position the next load looks at some windows again.
            return

    def _by_log(self, before: LoadPosition, now: datetime) -> Pending | None:
        """Returns the plan for what the log shows as changed, None if the log may not show everything."""
        window_count = self._warehouse.window_count(self._dataset)
        days = days_to_list(before, window_count, self._log_days(), now)
        if days is None:
            return None
        entries = self._entries(days)
        windows = windows_to_look_at(before, entries)
        if windows is None:
            return None
        newest: dict[TimeWindow, str] = {}
        plan = LoadPlan((), 0)
        if windows:
            # The ledger is read before the manifests are listed, so that it is never ahead of the listing.
            reach = TimeWindow(min(one.start for one in windows), max(one.end for one in windows))
            ledger = touching(self._warehouse.loaded(self._dataset, reach), windows)
            # A window that was loaded can overlap one of an attempt that failed; its manifests are there, too.
            keys = self._manifests_of(windows | {entry.window for entry in ledger})
            newest, plan = newest_manifests(keys), self._plan_for(keys, ledger)
        changed_count = sum(load.replaced is not None for load in plan.loads) + len(plan.errors)
        position = LoadPosition(
            seen_at=now,
            listed_at=before.listed_at,
            window_count=window_count,
            settled=settled(entries, newest, before.settled, now),
        )
        return Pending(
            plan._replace(unchanged_count=window_count - changed_count),
            position if is_worth_writing(position, before) else None,
        )

    def _by_manifests(self, before: LoadPosition | None, now: datetime) -> Pending:
        """Returns the plan for all manifests; without a log there is no position in it."""
        ledger = self._warehouse.loaded(self._dataset)
        days = self._log_days()
        entries = self._entries([day for day in days if day >= first_day(now).isoformat()])
        keys = tuple(self._store.list_keys(MANIFEST_FOLDER))
        position = LoadPosition(
            seen_at=now,
            listed_at=now,
            window_count=len(ledger),
            settled=settled(entries, newest_manifests(keys), (), now),
        )
        is_written = bool(days) and is_worth_writing(position, before)
        return Pending(self._plan_for(keys, ledger), position if is_written else None)

    def _log_days(self) -> list[str]:
        return log_days(self._store.list_folders(COMMIT_LOG_FOLDER))

    def _entries(self, days: list[str]) -> list[LogEntry]:
        folders = [f"{COMMIT_LOG_FOLDER}{day}/" for day in days]
        return list(log_entries(self._store.list_neighbours(folders))) if folders else []

    def _manifests_of(self, windows: set[TimeWindow]) -> tuple[str, ...]:
        folders = sorted({WindowKeys(window, window.start.date()).manifest_prefix for window in windows})
        listed = list_each(self._store, folders if len(folders) <= _MOST_FOLDERS else [MANIFEST_FOLDER])
        parsed = ((key, read_manifest_key(key)) for key in listed)
        return tuple(key for key, named in parsed if named is not None and named.window in windows)
