"""What a pull puts aside on its own machine: enough to find an id that came twice, and nothing is lost without room."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from airflow_audit_provider import staging
from airflow_audit_provider.adapters.storage import LocalStore
from airflow_audit_provider.core import roll
from airflow_audit_provider.exceptions import SourceProtocolError, StorageUnavailableError
from tests.pipeline.landing import record_at, staged_keys, visible_keys
from tests.pipeline.mortal_store import Death
from tests.pipeline.resuming import (
    checkpoint_in,
    finish,
    kill,
    resumable_order,
    small_fake,
    try_landing,
    visible_parts,
)

WANTED = resumable_order()


@pytest.fixture(autouse=True)
def small_amounts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Close a part after every 2000 records, and put ids aside after every 500."""
    monkeypatch.setattr(staging, "PART_RECORDS", 2000)
    monkeypatch.setattr(roll, "_HELD_COUNT", 500)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """The destination."""
    return LocalStore(str(tmp_path / "landed"))


def test_no_room_loses_nothing(store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error passes, nothing is visible meanwhile, and the next try goes on from what is staged."""
    fake, undisturbed = small_fake(), LocalStore(str(tmp_path / "undisturbed"))
    finish(fake, WANTED, undisturbed)
    monkeypatch.setattr(roll, "_HELD_COUNT", 5000)
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
        with pytest.raises(StorageUnavailableError, match="temporary files"):
            try_landing(fake, WANTED, store, Death())
    assert not visible_keys(store)
    staged_count = checkpoint_in(store).record_count
    assert staged_count >= 2000
    assert finish(fake, WANTED, store).manifest.fetch.resumed_count == staged_count
    assert visible_parts(store) == visible_parts(undisturbed)
    assert not staged_keys(store)


@pytest.mark.parametrize("killed", [False, True])
def test_an_id_that_comes_twice_is_found_among_what_was_put_aside(killed: bool, store: LocalStore) -> None:
    """The pull fails before its commit, also when the first of the two is in a dead try's part."""
    fake = small_fake()
    for when in ("2026-10-26T01:00:00Z", "2026-10-26T22:00:00Z"):
        fake.add(record_at(when, "twice"))
    if killed:
        kill(fake, WANTED, store)
        assert checkpoint_in(store).record_count > 0
    with pytest.raises(SourceProtocolError, match="have the id of a record of another time"):
        finish(fake, WANTED, store)
    assert not visible_keys(store)
