"""Ledger of detections: which rules have run on which generation of which window, and the alerts they gave.

::

    _detections/alerts/…        alerts about records of a window          written first, named by their digest
    _detections/windows/…       what has run on the windows of a month    written next, named by their digest
    _detections/ledger/000012   names both: the commit                    created last, unless another run has

A commit names the state of each month, so that one read shows everything after it. Two runs that read the same commit
create the same next one, and only one of them can.

Invariant: what no commit names has not happened; the alerts and the state that a commit names become visible together.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

import msgspec

from airflow_audit_provider.core.archive.manifest import canonical_json
from airflow_audit_provider.core.archive.object_keys import detected_windows_key
from airflow_audit_provider.core.verification.manifest_index import compressed, decompressed
from airflow_audit_provider.core.warehouse.port import LedgerEntry, LoadPosition, settled_digests
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import ConfigurationError, VerificationError

LEDGER_VERSION = 1
# The levels of Sigma, the least first.
LEVELS = ("informational", "low", "medium", "high", "critical")


class Rule(Protocol):
    """The facts of a detection rule that a detection needs; its version changes with its condition."""

    @property
    def id(self) -> str:
        """Name of the rule that never changes."""
        ...

    @property
    def version(self) -> str:
        """Version of the rule: a record that the rule has been run on is run again by another version."""
        ...

    @property
    def title(self) -> str:
        """Title for people."""
        ...

    @property
    def level(self) -> str:
        """One of ``LEVELS``."""
        ...

    @property
    def needs_history(self) -> timedelta:
        """How far before a record the rule looks; zero if it judges each record alone."""
        ...


def rule_key(rule: Rule) -> str:
    """Returns the rule with its version as one text."""
    return f"{rule.id}@{rule.version}"


def alert_id(record_id: str, rule: Rule) -> str:
    """Returns the id of an alert: the SHA-256 of record id, rule id and rule version as a JSON array in ASCII."""
    return hashlib.sha256(json.dumps([record_id, rule.id, str(rule.version)]).encode()).hexdigest()


class AlertFile(msgspec.Struct, frozen=True):
    """A file of alerts about records of one window.

    ``counts`` is the number of its alerts by level, ``rule_counts`` that by rule id; ``first_ids`` are some of its ids.
    """

    key: str
    sha256: str
    alert_count: int
    counts: dict[str, int] = {}
    rule_counts: dict[str, int] = {}
    first_ids: tuple[str, ...] = ()


class DetectedWindow(msgspec.Struct, frozen=True):
    """What has run on a window, as of its generation.

    ``rules`` have run on all its records; a rule that is not among them has run on those of some generations or of
    none. ``held`` are rules that were on and could not be run, because they look back at a window that could not be
    read. ``first_sha256`` is the digest of generation 1.
    """

    window: TimeWindow
    generation: int
    manifest_sha256: str
    first_sha256: str | None
    record_count: int
    rules: tuple[str, ...] = ()
    alert_files: tuple[AlertFile, ...] = ()
    held: tuple[str, ...] = ()

    @property
    def entry(self) -> LedgerEntry:
        """The window as a load ledger states it; the commit's number decides between two runs, so it counts no loads.

        A ledger lies beside the records that it is about, so it knows no other destination. It names no history that
        was replaced: if an older copy is restored, its windows are run again, and no alert is given twice.
        """
        facts = (self.window, 1, self.generation, self.manifest_sha256, self.first_sha256, self.record_count, "")
        return LedgerEntry(*facts)


class MonthState(msgspec.Struct, frozen=True):
    """The object with the state of a month's windows, and the latest end of one of them."""

    key: str
    end: datetime


class RuleState(msgspec.Struct, frozen=True):
    """A rule that is on, and has run on each window that is committed by now and ends after ``since``."""

    rule: str
    since: datetime


class _Position(msgspec.Struct, frozen=True):
    seen_at: datetime
    listed_at: datetime
    window_count: int
    settled: str


class DetectionCommit(msgspec.Struct, frozen=True, kw_only=True):
    """One commit of detections.

    ``attempt_id`` is that of the run, ``rules`` are on, ``windows`` were looked at with the numbers of records that
    were run through rules, ``alert_files`` are new. ``months`` names the state of each month, ``obsolete`` the objects
    that it replaces. ``undelivered`` are the earlier commits whose alerts some notifier had not got, ``notifiers`` the
    names of those that the run gives its alerts to. ``held_since_at`` is the start of the oldest window on which a rule
    is held, None if there is none.
    """

    number: int
    previous_sha256: str | None
    attempt_id: str
    committed_at: datetime
    rules: tuple[RuleState, ...]
    windows: dict[str, int]
    alert_files: tuple[AlertFile, ...]
    months: dict[str, MonthState]
    window_count: int
    position: _Position | None = None
    obsolete: tuple[str, ...] = ()
    undelivered: tuple[int, ...] = ()
    notifiers: tuple[str, ...] = ()
    held_since_at: datetime | None = None
    ledger_version: int = LEDGER_VERSION

    @property
    def alert_count(self) -> int:
        """Number of new alerts."""
        return sum(one.alert_count for one in self.alert_files)

    @property
    def load_position(self) -> LoadPosition | None:
        """How far the commit log of the destination was followed."""
        if self.position is None:
            return None
        one = self.position
        return LoadPosition(one.seen_at, one.listed_at, one.window_count, settled_digests(one.settled))

    def to_bytes(self) -> bytes:
        """Returns the commit as canonical JSON."""
        return canonical_json(self)


def stored_position(position: LoadPosition | None) -> _Position | None:
    """Returns a position as a commit stores it."""
    if position is None:
        return None
    return _Position(position.seen_at, position.listed_at, position.window_count, position.settled_text)


class _Month(msgspec.Struct, frozen=True):
    """The windows of a month; windows with the same rules share one list of them."""

    rule_sets: dict[str, tuple[str, ...]]
    windows: tuple[tuple[str, DetectedWindow], ...]


class StoredMonth(NamedTuple):
    """The state of the windows of a month, and the content of its object."""

    state: MonthState
    content: bytes


_DECODE_ERRORS = (msgspec.DecodeError, ValueError, OverflowError, RecursionError, ConfigurationError)
_COMMIT_DECODER = msgspec.json.Decoder(DetectionCommit)
_MONTH_DECODER = msgspec.json.Decoder(_Month)


def read_detection_commit(key: str, content: bytes | None) -> DetectionCommit:
    """Decodes a commit; raises ``VerificationError`` if it is gone, damaged, or of a newer version."""
    try:
        commit = None if content is None else _COMMIT_DECODER.decode(content)
    except _DECODE_ERRORS:
        commit = None
    if commit is None:
        raise VerificationError(
            f"The commit of detections {key} is gone or damaged. Restore it from a copy. If there is "
            "none, remove the folder _detections/: the next run then starts like a first run."
        )
    if commit.ledger_version > LEDGER_VERSION:
        raise VerificationError(
            f"The commit of detections {key} has version {commit.ledger_version}, newer than {LEDGER_VERSION}. "
            "Upgrade airflow-audit-provider."
        )
    return commit


def month_of_window(window: TimeWindow) -> str:
    """Returns the month whose state includes a window: that of its start in UTC."""
    return window.start.strftime("%Y-%m")


def write_month(month: str, number: int, windows: Iterable[DetectedWindow]) -> StoredMonth:
    """Returns the state of a month as an object of a commit; equal states have equal bytes."""
    rule_sets: dict[str, tuple[str, ...]] = {}
    rows = []
    for one in sorted(windows, key=lambda one: one.window):
        name = hashlib.sha256(json.dumps(one.rules).encode()).hexdigest()[:16]
        rule_sets[name] = one.rules
        rows.append((name, msgspec.structs.replace(one, rules=())))
    text = msgspec.json.encode(_Month(dict(sorted(rule_sets.items())), tuple(rows)))
    content = compressed(text)
    key = detected_windows_key(month, number, hashlib.sha256(content).hexdigest())
    return StoredMonth(MonthState(key, max(one.window.end for _, one in rows)), content)


def read_month(key: str, content: bytes | None) -> Mapping[TimeWindow, DetectedWindow]:
    """Returns the state of a month; raises ``VerificationError`` if it is gone or damaged."""
    is_intact = content is not None and hashlib.sha256(content).hexdigest()[:16] in key
    text = decompressed(content) if content is not None and is_intact else None
    rows = None if text is None else _month_rows(text)
    if rows is None:
        raise VerificationError(
            f"The state of detections {key} is gone or damaged. Restore it from a copy. If there is "
            "none, remove the folder _detections/: the next run then starts like a first run."
        )
    return {one.window: msgspec.structs.replace(one, rules=rules) for one, rules in rows}


def _month_rows(text: bytes) -> list[tuple[DetectedWindow, tuple[str, ...]]] | None:
    """Returns the windows of a month with their rules, None if the text is none of this version."""
    try:
        month = _MONTH_DECODER.decode(text)
        return [(one, month.rule_sets[name]) for name, one in month.windows]
    except (*_DECODE_ERRORS, KeyError):
        return None
