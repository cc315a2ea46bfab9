"""Which objects a dataset needs, and which of their locks are long enough."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from airflow_audit_provider.core.ports import ObjectLock
from airflow_audit_provider.core.verification.findings import FindingKind, Severity
from airflow_audit_provider.core.verification.object_locks import lock_findings, protected_keys, read_lock_date
from airflow_audit_provider.exceptions import ConfigurationError

NOW = datetime(2026, 11, 29, tzinfo=UTC)
UNTIL = datetime(2033, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def test_object_first_unlock_at_the_date_or_longer_has_no_finding() -> None:
    """The exact instant is long enough in both modes; the summary has the earliest end."""
    locks = {"a": ObjectLock("COMPLIANCE", UNTIL), "b": ObjectLock("GOVERNANCE", UNTIL + SECOND)}
    summary, findings = lock_findings(locks.items(), UNTIL)
    assert findings == []
    assert (summary.locked_count, summary.unlocked_count, summary.governance_count) == (2, 0, 1)
    assert summary.first_unlock_at == UNTIL


@pytest.mark.parametrize(
    ("lock", "fact"),
    [
        (ObjectLock("COMPLIANCE", UNTIL - SECOND), "locks it until 2032-12-31T23:59:59+00:00 (COMPLIANCE), not until"),
        (ObjectLock("GOVERNANCE", NOW), "locks it until 2026-11-29T00:00:00+00:00 (GOVERNANCE), not until 2033-01-01"),
        (ObjectLock(has_legal_hold=True), "keeps it by a legal hold without an end, not until 2033-01-01"),
        (ObjectLock(), "shows no lock, not until 2033-01-01T00:00:00+00:00"),
    ],
)
def test_object_locked_for_less_is_a_severe_finding(lock: ObjectLock, fact: str) -> None:
    """The finding says until when the object is locked instead."""
    summary, (found,) = lock_findings([("dt=1/part", lock)], UNTIL)
    assert (found.kind, found.key, found.severity) == (FindingKind.OBJECT_UNLOCKED, "dt=1/part", Severity.SEVERE)
    assert fact in found.detail
    assert (summary.locked_count, summary.unlocked_count, summary.first_unlock_at) == (0, 1, lock.until)


def test_legal_hold_counts_as_kept_now() -> None:
    """A lock is active until its last instant, a legal hold always."""
    assert ObjectLock("COMPLIANCE", NOW + SECOND).is_active(NOW)
    assert not ObjectLock("COMPLIANCE", NOW).is_active(NOW)
    assert ObjectLock(has_legal_hold=True).is_active(NOW)
    assert not ObjectLock().is_active(NOW)


def test_keys_of_a_dataset_are_those_that_its_proof_needs() -> None:
    """Descriptor, manifests, seals, signatures and the named parts; neither staging nor foreign files."""
    needed = ["_dataset.json", "_manifests/dt=2026-11-01/w.g0001.json", "_seals/000001.json", "_seals/000001.sig"]
    others = ["_staging/w/one/attempt.json", "README.md", "dt=2026-11-01/w/part-2"]
    assert protected_keys([*others, *needed, "dt=2026-11-01/w/part-1"], {"dt=2026-11-01/w/part-1"}) == [
        *needed,
        "dt=2026-11-01/w/part-1",
    ]


def test_expected_date_is_read_as_a_bound() -> None:
    """A date is its midnight in UTC; None and an empty text are no check."""
    assert read_lock_date("expect_lock", "2033-01-01", NOW) == UNTIL
    assert read_lock_date("expect_lock", date(2033, 1, 1), NOW) == UNTIL
    assert read_lock_date("expect_lock", None, NOW) is None


@pytest.mark.parametrize("value", ["2026-11-29", "2020-01-01T00:00:00Z"])
def test_expected_date_in_the_past_is_refused(value: str) -> None:
    """Locks that have ended would satisfy it."""
    with pytest.raises(ConfigurationError, match=r"expect_lock is .*, which is in the past"):
        read_lock_date("expect_lock", value, NOW)
