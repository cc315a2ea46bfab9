"""Checks that the store protects every object of a dataset until a date.

Invariant: only a retention period protects until a date; a legal hold can be removed at any time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

import msgspec

from airflow_audit_provider.core.archive.object_keys import (
    DATASET_KEY,
    MANIFEST_FOLDER,
    SEAL_FOLDER,
    seal_index_number,
)
from airflow_audit_provider.core.ports import ObjectLock
from airflow_audit_provider.core.verification.findings import Finding, FindingKind, finding
from airflow_audit_provider.core.windows.run_window import Bound, read_bound
from airflow_audit_provider.exceptions import ConfigurationError


class LockSummary(msgspec.Struct, frozen=True):
    """How the store protects a dataset.

    ``first_unlock_at`` is the earliest end of a retention period. Of the ``locked_count`` objects that are protected as
    expected, a permission can unlock ``governance_count``.
    """

    locked_count: int
    unlocked_count: int
    governance_count: int
    first_unlock_at: datetime | None


def read_lock_date(name: str, value: Bound, now: datetime) -> datetime | None:
    """Returns the instant until which objects must be locked, None if it is not set.

    Raises ``ConfigurationError`` if it is past: locks that have ended would pass.
    """
    until = read_bound(name, value)
    if until is not None and until <= now:
        raise ConfigurationError(
            f"{name} is {until.isoformat()}, which is in the past. Give a date or time until which every object must "
            "be locked, such as one year from now."
        )
    return until


def protected_keys(keys: Iterable[str], part_keys: Collection[str]) -> list[str]:
    """Returns which of these keys a dataset needs: its descriptor, manifests, seals, signatures and ``part_keys``.

    Staging is left out, because nothing needs it after the commit, and the index of seals, which is only a copy.
    """
    return sorted(
        key
        for key in keys
        if (key == DATASET_KEY or key.startswith((MANIFEST_FOLDER, SEAL_FOLDER)) or key in part_keys)
        and seal_index_number(key) is None
    )


def lock_findings(locks: Iterable[tuple[str, ObjectLock]], until: datetime) -> tuple[LockSummary, list[Finding]]:
    """Returns the summary, and a finding for each object that is not locked until ``until``."""
    findings: list[Finding] = []
    locked_count = governance_count = 0
    ends: list[datetime] = []
    for key, lock in locks:
        ends += [] if lock.until is None else [lock.until]
        if lock.until is not None and lock.until >= until:
            locked_count += 1
            governance_count += lock.mode != "COMPLIANCE"
        else:
            findings.append(finding(FindingKind.OBJECT_UNLOCKED, key, _fact(lock, until)))
    summary = LockSummary(locked_count, len(findings), governance_count, min(ends, default=None))
    return summary, findings


def _fact(lock: ObjectLock, until: datetime) -> str:
    expected = f"not until {until.isoformat()}"
    if lock.until is not None:
        return f"The store locks it until {lock.until.isoformat()} ({lock.mode}), {expected}."
    if lock.has_legal_hold:
        return f"The store keeps it by a legal hold without an end, {expected}."
    return f"The store shows no lock, {expected}."
