"""Reads and commits the ledger of detections of a destination; see ``core/warehouse/detections``.

Invariant: a commit is created last, with the next number; a run that another one was faster than commits nothing.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

from airflow_audit_provider.core.archive.object_keys import (
    DETECTION_LEDGER_FOLDER,
    detected_windows_number,
    detection_commit_key,
    detection_commit_number,
)
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.warehouse.detections import (
    AlertFile,
    DetectedWindow,
    DetectionCommit,
    RuleState,
    StoredMonth,
    month_of_window,
    read_detection_commit,
    read_month,
    stored_position,
    write_month,
)
from airflow_audit_provider.core.warehouse.port import LedgerEntry, LoadPosition
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import StorageError, VerificationError, WarehouseBusyError
from airflow_audit_provider.pipelines.side_by_side import read_each


class CommitContent(NamedTuple):
    """What a run commits: the rules that are on, the new state of windows, how many records were run, new alerts.

    ``notifiers`` are the names of those that the run gives the alerts to.
    """

    rules: tuple[RuleState, ...]
    windows: Sequence[DetectedWindow] = ()
    record_counts: Mapping[TimeWindow, int] = {}
    alert_files: tuple[AlertFile, ...] = ()
    position: LoadPosition | None = None
    undelivered: tuple[int, ...] = ()
    notifiers: tuple[str, ...] = ()
    held_since_at: datetime | None = None


class DetectionLedger:
    """The ledger as of its newest commit, which :meth:`commit` moves on.

    It satisfies ``LoadLedger``, so that pending windows are found as those of a load are.
    """

    def __init__(self, store: Store) -> None:
        self.newest: DetectionCommit | None = None
        self._store = store
        self._sha256: str | None = None
        self._months: dict[str, Mapping[TimeWindow, DetectedWindow]] = {}
        key = newest_commit_key(store)
        if key is not None:
            content = store.read(key)
            self.newest = read_detection_commit(key, content)
            self._sha256 = hashlib.sha256(content or b"").hexdigest()

    @property
    def next_number(self) -> int:
        """The number of the next commit."""
        return 1 if self.newest is None else self.newest.number + 1

    def is_newest(self) -> bool:
        """Returns whether no other run has committed since the ledger was read."""
        newest = newest_commit_key(self._store)
        return newest == (None if self.newest is None else detection_commit_key(self.newest.number))

    def position(self, dataset: str, destination: str) -> LoadPosition | None:  # noqa: ARG002 - signature of the port
        """Returns how far the commit log was followed."""
        return None if self.newest is None else self.newest.load_position

    def remember(self, dataset: str, destination: str, position: LoadPosition) -> None:
        """Does nothing: a commit of detections has the position."""

    def window_count(self, dataset: str) -> int:  # noqa: ARG002 - signature of the port
        """Returns the number of windows in the ledger."""
        return 0 if self.newest is None else self.newest.window_count

    def loaded(
        self,
        dataset: str,  # noqa: ARG002 - signature of the port
        within: TimeWindow | None = None,
    ) -> list[LedgerEntry]:
        """Returns the windows as a load ledger states them."""
        return [one.entry for one in self.windows(within).values()]

    def windows(self, within: TimeWindow | None = None) -> dict[TimeWindow, DetectedWindow]:
        """Returns the windows of the ledger, or those that overlap a range; reads only months that may have one."""
        states = {} if self.newest is None else self.newest.months
        months = [
            month
            for month, state in states.items()
            if within is None or (month <= f"{within.end:%Y-%m}" and state.end > within.start)
        ]
        self._read(months)
        known = {window: one for month in months for window, one in self._months[month].items()}
        return known if within is None else {window: one for window, one in known.items() if window.overlaps(within)}

    def _read(self, months: Sequence[str]) -> None:
        states = {} if self.newest is None else self.newest.months
        missing = [month for month in months if month not in self._months and month in states]
        read = read_each(self._store, [states[month].key for month in missing])
        for month, (key, content) in zip(missing, read, strict=True):
            self._months[month] = read_month(key, content)

    def commit(self, content: CommitContent, now: datetime, attempt_id: str) -> DetectionCommit:
        """Creates the next commit; raises ``WarehouseBusyError`` if another run has created it.

        The files of alerts must exist. What the newest commit has replaced is removed first: a commit that is created
        without that would leave it there.
        """
        stored, new_count = self._changed_months(content.windows)
        before = self.newest
        months = {} if before is None else before.months
        replaced = [months[month].key for month, one in stored.items() if month in months]
        kept = {month: months[month] for month in months if month not in stored}
        made = DetectionCommit(
            number=self.next_number,
            previous_sha256=self._sha256,
            attempt_id=attempt_id,
            committed_at=now,
            rules=content.rules,
            windows={str(window): count for window, count in content.record_counts.items()},
            alert_files=content.alert_files,
            months=dict(sorted({**kept, **{month: one.state for month, one in stored.items()}}.items())),
            window_count=self.window_count("") + new_count,
            position=stored_position(content.position),
            obsolete=tuple(sorted(set(replaced) - {one.state.key for one in stored.values()})),
            undelivered=content.undelivered,
            notifiers=content.notifiers,
            held_since_at=content.held_since_at,
        )
        for one in stored.values():
            self._store.put(one.state.key, one.content)
        self._create(made)
        return made

    def _changed_months(self, windows: Sequence[DetectedWindow]) -> tuple[dict[str, StoredMonth], int]:
        """Returns the new state of each month with a changed window, and how many windows are new."""
        by_month: dict[str, list[DetectedWindow]] = defaultdict(list)
        for one in windows:
            by_month[month_of_window(one.window)].append(one)
        self._read(list(by_month))
        stored, new_count = {}, 0
        for month, changed in by_month.items():
            known = self._months.get(month, {})
            merged = {**known, **{one.window: one for one in changed}}
            new_count += len(merged) - len(known)
            stored[month] = write_month(month, self.next_number, merged.values())
            self._months[month] = merged
        return stored, new_count

    def _create(self, made: DetectionCommit) -> None:
        key, content = detection_commit_key(made.number), made.to_bytes()
        if self.newest is not None:
            # A connection that may not remove objects leaves them there.
            with suppress(StorageError):
                self._store.remove(self.newest.obsolete)
        # A create whose answer was lost may have taken effect.
        if not self._store.create(key, content) and self._store.read(key) != content:
            raise WarehouseBusyError(
                f"Another run has committed the detections {key} first, so this run has committed nothing. Set "
                "max_active_tis_per_dag=1 on the task, then run it again."
            )
        self.newest, self._sha256 = made, hashlib.sha256(content).hexdigest()


def newest_commit_key(store: Store) -> str | None:
    """Returns the key of the newest commit of detections, None if there is none."""
    for folder in reversed(store.list_folders(DETECTION_LEDGER_FOLDER)):
        listed = store.list_keys(f"{DETECTION_LEDGER_FOLDER}{folder}/")
        numbers = [number for number in map(detection_commit_number, listed) if number is not None]
        if numbers:
            return detection_commit_key(max(numbers))
    return None


def orphaned_states(store: Store, listed: Iterable[str]) -> list[str]:
    """Returns the listed states of months that no run can name any more.

    A run names a state only in the commit whose number is in the key. If the newest commit has this number or a later
    one, and does not name the state, nothing reads it. A newest commit that is damaged, which every run of rules
    reports, does not show what it names.
    """
    key = newest_commit_key(store)
    numbers = {one: detected_windows_number(one) for one in listed}
    if key is None or not any(numbers.values()):
        return []
    try:
        newest = read_detection_commit(key, store.read(key))
    except VerificationError:
        return []
    named = {month.key for month in newest.months.values()}
    return [one for one, number in numbers.items() if number and number <= newest.number and one not in named]


def commits_by(
    store: Store, newest: DetectionCommit | None, attempt_id: str, most_others: int = 0
) -> list[DetectionCommit]:
    """Returns the commits of a run among the newest ones, oldest first, also those before it was retried.

    ``most_others`` is how many commits of other runs may be between them.
    """
    found: list[DetectionCommit] = []
    while newest is not None and most_others >= 0:
        if newest.attempt_id == attempt_id:
            found.append(newest)
        else:
            most_others -= 1
        newest = read_commit(store, newest.number - 1) if newest.number > 1 and most_others >= 0 else None
    return found[::-1]


def read_commit(store: Store, number: int) -> DetectionCommit:
    """Returns a commit by its number; raises ``VerificationError`` if it is gone or damaged."""
    key = detection_commit_key(number)
    return read_detection_commit(key, store.read(key))
