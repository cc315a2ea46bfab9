"""Committed parts must match their manifest, and no run makes a commit smaller."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.core.archive.manifest import Part
from airflow_audit_provider.core.windows.window import to_ns
from airflow_audit_provider.exceptions import CommitConflictError, StorageError, VerificationError
from airflow_audit_provider.pipelines.committed import CommittedRecordFilter
from airflow_audit_provider.testing.clock import ManualClock
from tests.pipelines.pull.landing import START, fake_with, land, landed_ids, pull_spec, reader_of, record_at, true_ids


@pytest.mark.integration
@pytest.mark.parametrize("file_format", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_damaged_part_fails_the_next_run(file_format: str, damage: str, clock: ManualClock, store: LocalStore) -> None:
    """A run upon a part that is truncated, changed or missing fails and writes nothing."""
    fake = fake_with(clock)
    spec = pull_spec(file_format=file_format)
    land(spec, reader_of(fake, clock), store)
    part = next(key for key in store.list_keys("") if key.startswith("dt="))
    content = store.read(part) or b""
    store.remove([part])
    if damage != "gone":
        store.create(part, content[:-40] if damage == "cut" else content[:99] + b"\x00" + content[100:])
    before = list(store.list_keys(""))
    with pytest.raises(VerificationError, match="Restore it from a copy"):
        land(spec, reader_of(fake, clock), store)
    assert list(store.list_keys("")) == before


@pytest.mark.integration
def test_replacement_with_fewer_records_fails(clock: ManualClock, store: LocalStore) -> None:
    """A replacement with fewer records than are committed fails and changes nothing."""
    spec = pull_spec()
    land(spec, reader_of(fake_with(clock), clock), store)
    before = {key: store.read(key) for key in store.list_keys("")}
    with pytest.raises(VerificationError, match="Nothing was replaced"):
        land(pull_spec(replace=True), reader_of(fake_with(clock, records_per_day=100), clock), store)
    assert {key: store.read(key) for key in store.list_keys("")} == before


@pytest.mark.integration
@pytest.mark.parametrize(("begin_hour", "end_hour"), [(0, 1), (12, 24), (0, 48)])
def test_overlapping_window_conflicts(begin_hour: int, end_hour: int, clock: ManualClock, store: LocalStore) -> None:
    """A window that overlaps a committed day conflicts; adjacent days do not."""
    fake = fake_with(clock)
    begin, end = START + timedelta(hours=begin_hour), START + timedelta(hours=end_hour)
    land(pull_spec(start=START, end=START + timedelta(days=1)), reader_of(fake, clock), store)
    land(pull_spec(start=START + timedelta(days=1), end=START + timedelta(days=2)), reader_of(fake, clock), store)
    with pytest.raises(CommitConflictError, match="overlaps"):
        land(pull_spec(start=begin, end=end), reader_of(fake, clock), store)


@pytest.mark.integration
def test_long_window_conflicts_in_both_orders(clock: ManualClock, store: LocalStore) -> None:
    """A long window conflicts with a day committed earlier, and a day with a long window committed earlier."""
    fake = fake_with(clock)
    day = timedelta(days=1)
    land(pull_spec(start=START + 2 * day, end=START + 3 * day), reader_of(fake, clock), store)
    with pytest.raises(CommitConflictError, match="overlaps"):
        land(pull_spec(start=START, end=START + 5 * day), reader_of(fake, clock), store)
    land(pull_spec(start=START - 3 * day, end=START - day), reader_of(fake, clock), store)
    with pytest.raises(CommitConflictError, match="overlaps"):
        land(pull_spec(start=START - 2 * day, end=START), reader_of(fake, clock), store)


def test_store_without_conditional_writes_fails(clock: ManualClock, tmp_path: Path) -> None:
    """A store that lets a second create succeed is an error before the first request."""

    class Forgetful(LocalStore):
        """Store that overwrites and reports success."""

        def create(self, key: str, content: bytes) -> bool:
            super().create(key, content)
            return True

    fake = fake_with(clock)
    with pytest.raises(StorageError, match="created twice"):
        land(pull_spec(), reader_of(fake, clock), Forgetful(str(tmp_path)))
    assert fake.requests == []
    assert list(LocalStore(str(tmp_path)).list_keys("")) == []


@pytest.mark.integration
def test_burst_takes_few_requests(clock: ManualClock, store: LocalStore) -> None:
    """A quiet day with 3000 records in ten seconds takes fewer than 60 requests."""
    fake = fake_with(clock, records_per_day=500)
    for number in range(3000):
        at = f"2026-10-26T12:00:{number // 300:02}.{number % 300:03}Z"
        fake.add(json.dumps({"id": f"burst-{number:05}", "when": at}).encode())
    land(pull_spec(), reader_of(fake, clock), store)
    assert landed_ids(pull_spec(), store) == true_ids(fake, "v1")
    assert len(fake.requests) < 60


def test_id_in_two_parts_is_found_in_both() -> None:
    """A record that is read again counts as found in every nearby part that has its id."""
    raw = record_at("2026-10-26T00:00:00Z", "twice")
    missing: list[str] = []
    parts = tuple(Part(key, len(raw), "", 1, to_ns(START), to_ns(START)) for key in ("first", "addendum"))
    record = AuditRecord(to_ns(START), "twice", raw)
    known = CommittedRecordFilter(parts, lambda _: [record], False, missing.extend)
    assert known.exclude_committed([record]) == []
    known.finish()
    assert (known.missing_count, missing) == (0, [])
