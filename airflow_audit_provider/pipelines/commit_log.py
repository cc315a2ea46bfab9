"""An attempt's entry in the commit log: written before its first part and its manifest, wherever it is killed.

Invariant: no part of an attempt is published, and no manifest created, before its entry exists.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow_audit_provider.core.archive.commit_log import LONGEST_ATTEMPT, SWEEP_MARGIN
from airflow_audit_provider.core.archive.manifest import canonical_json
from airflow_audit_provider.core.archive.object_keys import LogEntry
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.windows.window import TimeWindow


class AttemptEntry:
    """The entry of one attempt that may commit a generation of a window."""

    def __init__(self, store: Store, window: TimeWindow, generation: int, attempt_id: str) -> None:
        self._store = store
        self._window = window
        self._generation = generation
        self._attempt_id = attempt_id
        self._at: datetime | None = None
        self._written: list[str] = []

    def begin(self, now: datetime) -> None:
        """Notes the time of the entry, unless there is one."""
        if not self._written:
            self._at = now

    @property
    def key(self) -> str:
        """The key of the entry."""
        assert self._at is not None, "the attempt has not begun"
        at = self._at.replace(microsecond=0)
        return LogEntry(at, self._window, self._generation, self._attempt_id).key

    def write(self) -> bool:
        """Writes the entry; returns whether this call created it."""
        key = self.key
        # Before the call: a create that fails may have taken effect.
        self._written.append(key)
        facts = {"attempt": self._attempt_id, "generation": self._generation, "window": self._window}
        return self._store.create(key, canonical_json(facts))

    def ensure(self, now: datetime) -> None:
        """Writes the entry before a commit if there is none, or if it is so old that a loader may not list it."""
        if not self._written or self._age(now) > LONGEST_ATTEMPT:
            self._at = now
            self.write()

    def is_recent(self, now: datetime) -> bool:
        """Returns whether a sweep that lists the entry takes this attempt for an active one, also in a while."""
        return timedelta(0) <= self._age(now) <= SWEEP_MARGIN

    def withdraw(self) -> None:
        """Removes the entry of an attempt that has published nothing and will not."""
        written, self._written = self._written, []
        if written:
            self._store.remove(sorted(set(written)))

    def _age(self, now: datetime) -> timedelta:
        assert self._at is not None, "the attempt has not begun"
        return now - self._at
