"""What is committed is believed only when it is what its manifest says, and never made less."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from airflow_audit_provider.adapters.storage import LocalStore
from airflow_audit_provider.exceptions import CommitConflictError, VerificationError
from airflow_audit_provider.testing.clock import ManualClock
from tests.pipeline.landing import START, fake_with, land, order, source_of


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
