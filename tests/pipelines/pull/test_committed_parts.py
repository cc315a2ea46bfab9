"""What is committed is believed only when it is what its manifest says, and never made less."""

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
from tests.pipelines.pull.landing import START, fake_with, land, landed_ids, order, record_at, source_of, true_ids


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path))


@pytest.mark.parametrize("file_format", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_a_damaged_part_is_not_added_to(file_format: str, damage: str, clock: ManualClock, store: LocalStore) -> None:
    """A second run on a part that is cut, changed or removed is an error, and no byte is written."""
    fake = fake_with(clock)
    wanted = order(file_format=file_format)
    land(wanted, source_of(fake, clock), store)
    part = next(key for key in store.list_keys("") if key.startswith("dt="))
    content = store.read(part) or b""
    store.remove([part])
    if damage != "gone":
        store.create(part, content[:-40] if damage == "cut" else content[:99] + b"\x00" + content[100:])
    before = list(store.list_keys(""))
    with pytest.raises(VerificationError, match="Restore it from a copy"):
        land(wanted, source_of(fake, clock), store)
    assert list(store.list_keys("")) == before


def test_replacing_never_leaves_fewer_records(clock: ManualClock, store: LocalStore) -> None:
    """An API that has forgotten records does not make a replacement forget them."""
    wanted = order()
    land(wanted, source_of(fake_with(clock), clock), store)
    before = {key: store.read(key) for key in store.list_keys("")}
    with pytest.raises(VerificationError, match="Nothing was replaced"):
        land(order(replace=True), source_of(fake_with(clock, records_per_day=100), clock), store)
    assert {key: store.read(key) for key in store.list_keys("")} == before


@pytest.mark.parametrize(("begin_hour", "end_hour"), [(0, 1), (12, 24), (0, 48)])
def test_an_overlapping_window_is_refused(
    begin_hour: int, end_hour: int, clock: ManualClock, store: LocalStore
) -> None:
    """Hours on top of a day would land records twice; the day's neighbours are fine."""
    fake = fake_with(clock)
    begin, end = START + timedelta(hours=begin_hour), START + timedelta(hours=end_hour)
    land(order(start=START, end=START + timedelta(days=1)), source_of(fake, clock), store)
    land(order(start=START + timedelta(days=1), end=START + timedelta(days=2)), source_of(fake, clock), store)
    with pytest.raises(CommitConflictError, match="overlaps"):
        land(order(start=begin, end=end), source_of(fake, clock), store)


def test_a_day_inside_a_week_is_refused_beside_its_first_days(clock: ManualClock, store: LocalStore) -> None:
    """A long window that meets committed days is refused, and a day that meets yesterday's long window too."""
    fake = fake_with(clock)
    day = timedelta(days=1)
    land(order(start=START + 2 * day, end=START + 3 * day), source_of(fake, clock), store)
    with pytest.raises(CommitConflictError, match="overlaps"):
        land(order(start=START, end=START + 5 * day), source_of(fake, clock), store)
    land(order(start=START - 3 * day, end=START - day), source_of(fake, clock), store)
    with pytest.raises(CommitConflictError, match="overlaps"):
        land(order(start=START - 2 * day, end=START), source_of(fake, clock), store)


def test_a_store_that_creates_twice_is_refused(clock: ManualClock, tmp_path: Path) -> None:
    """Where a commit could be overwritten unseen, nothing is asked of the API."""

    class Forgetful(LocalStore):
        def create(self, key: str, content: bytes) -> bool:
            super().create(key, content)
            return True

    fake = fake_with(clock)
    with pytest.raises(StorageError, match="created twice"):
        land(order(), source_of(fake, clock), Forgetful(str(tmp_path)))
    assert fake.requests == []
    assert list(LocalStore(str(tmp_path)).list_keys("")) == []


def test_a_burst_costs_no_thousand_requests(clock: ManualClock, store: LocalStore) -> None:
    """A quiet day with a few crowded seconds at noon is read in tens of requests."""
    fake = fake_with(clock, records_per_day=500)
    for number in range(3000):
        at = f"2026-10-26T12:00:{number // 300:02}.{number % 300:03}Z"
        fake.add(json.dumps({"id": f"burst-{number:05}", "when": at}).encode())
    land(order(), source_of(fake, clock), store)
    assert landed_ids(order(), store) == true_ids(fake, "v1")
    assert len(fake.requests) < 60


def test_an_id_in_two_parts_is_missing_from_neither_when_it_comes() -> None:
    """A record that comes again answers for every part around that has its id."""
    raw = record_at("2026-10-26T00:00:00Z", "twice")
    missing: list[str] = []
    parts = tuple(Part(key, len(raw), "", 1, to_ns(START), to_ns(START)) for key in ("first", "addendum"))
    record = AuditRecord(to_ns(START), "twice", raw)
    known = CommittedRecordFilter(parts, lambda _: [record], False, missing.extend)
    assert known.exclude_committed([record]) == []
    known.finish()
    assert (known.missing_count, missing) == (0, [])
