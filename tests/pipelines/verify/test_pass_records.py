"""Verify leaves a record of a pass, and coverage shows when it last passed; neither trusts the record."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from airflow_audit_provider.pipelines import pass_records
from airflow_audit_provider.pipelines.coverage import coverage
from airflow_audit_provider.pipelines.pass_records import record_pass
from airflow_audit_provider.pipelines.sweep import sweep
from airflow_audit_provider.pipelines.verify import verify
from tests.pipelines.verify.dataset import DAY, DAY_1, commit, record, records_in, two_days, window
from tests.pipelines.verify.memory_store import MemoryStore

NOW = datetime(2026, 11, 20, 3, tzinfo=UTC)


@pytest.fixture
def store() -> MemoryStore:
    """Two landed days."""
    store = MemoryStore()
    two_days(store)
    return store


def _verify_and_record(store: MemoryStore, now: datetime = NOW) -> str | None:
    passed = verify(store).passed(now)
    return record_pass(store, passed) if passed is not None else None


def test_pass_is_shown_for_windows_that_have_not_changed_since(store: MemoryStore) -> None:
    """All windows are verified; one that gets a late record afterwards is not, until the next verification."""
    assert _verify_and_record(store) is not None
    (found,) = coverage(store, NOW)
    assert (found.verified.last_passed_at, found.verified.verified_count, found.verified.not_verified_count) == (
        NOW,
        found.coverage.window_count,
        0,
    )
    commit(store, window(), [record(DAY_1 + timedelta(seconds=2), "later")])
    (found,) = coverage(store, NOW)
    assert (found.verified.not_verified_count, found.verified.spans[0].verified_at) == (1, None)
    _verify_and_record(store, NOW + DAY)
    (found,) = coverage(store, NOW + DAY)
    assert (found.verified.not_verified_count, found.verified.last_passed_at) == (0, NOW + DAY)


def test_verification_that_failed_leaves_no_record(store: MemoryStore) -> None:
    """With a severe finding there is nothing to record."""
    part = next(key for key in store.objects if "/part-" in key)
    store.objects[part] += b"x"
    assert _verify_and_record(store) is None
    assert coverage(store, NOW)[0].verified.last_passed_at is None


def test_records_are_no_finding_and_survive_a_sweep(store: MemoryStore) -> None:
    """Verify accepts records of earlier passes, another object is a mild finding, and sweep leaves both."""
    key = _verify_and_record(store)
    assert verify(store).findings == ()
    store.objects["_verified/notes.txt"] = b"x"
    assert [(str(one.kind), one.key) for one in verify(store).findings] == [("object_foreign", "_verified/notes.txt")]
    sweep(store, NOW + 9 * DAY)
    assert {key, "_verified/notes.txt"} <= store.objects.keys()


def test_forged_record_changes_no_verification(store: MemoryStore) -> None:
    """A record that states a pass over damaged parts changes only what coverage shows, and not verify's findings."""
    key = _verify_and_record(store)
    assert key is not None
    part = next(key for key in store.objects if "/part-" in key)
    store.objects[part] += b"x"
    findings = verify(store).findings
    del store.objects[key]
    assert verify(store).findings == findings
    assert findings


def test_damaged_record_does_not_stop_coverage(store: MemoryStore) -> None:
    """A damaged record is counted, and older ones are read."""
    _verify_and_record(store)
    newer = _verify_and_record(store, NOW + DAY)
    assert newer is not None
    store.objects[newer] = b"{}"
    (found,) = coverage(store, NOW + DAY)
    assert (found.verified.last_passed_at, found.verified.unreadable_count) == (NOW, 1)


def test_records_of_another_dataset_below_the_root_do_not_count(store: MemoryStore) -> None:
    """Each dataset below a root has the records in its own folder."""
    _verify_and_record(store)
    other = MemoryStore()
    commit(other, window(), records_in(window(), 1))
    root = MemoryStore({f"a/{key}": content for key, content in store.objects.items()})
    root.objects.update({f"b/{key}": content for key, content in other.objects.items()})
    first, second = coverage(root, NOW)
    assert (first.verified.not_verified_count, second.verified.last_passed_at) == (0, None)


@pytest.mark.integration
def test_coverage_reads_a_bounded_number_of_records(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A window that no record covers does not make coverage read all records of years."""
    monkeypatch.setattr(pass_records, "MAX_READ_COUNT", 10)
    for number in range(15):
        _verify_and_record(store, NOW + number * DAY)
    commit(store, window(9), records_in(window(9), 1))
    store.reads.clear()
    (found,) = coverage(store, NOW)
    assert found.verified.not_verified_count == 1
    assert sum(key.startswith("_verified/") for key in store.reads) == 10
