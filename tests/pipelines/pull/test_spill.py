"""Ids that a pull spills to a temporary file: a repeated id is found, with or without disk space."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.core.archive import unique_ids
from airflow_audit_provider.exceptions import SourceProtocolError, SourceUnavailableError, VerificationError
from airflow_audit_provider.pipelines import part_writer
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from tests.pipelines.pull.landing import landed_ids, record_at, staged_keys, true_ids, visible_keys
from tests.pipelines.pull.resuming import KILLED_AT, checkpoint_in, finish, kill, resumable_spec, small_fake

pytestmark = pytest.mark.integration

SPEC = resumable_spec()
EARLY, LATE = "2026-10-26T01:00:00Z", "2026-10-26T22:00:00Z"
CONFLICT = "with the same id as another record of the window, but a different time|are committed with another time"


@pytest.fixture(autouse=True)
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closes a part after 2000 records and spills ids after 500."""
    monkeypatch.setattr(part_writer, "PART_RECORDS", 2000)
    monkeypatch.setattr(unique_ids, "_MEMORY_COUNT", 500)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """An empty destination."""
    return LocalStore(str(tmp_path / "landed"))


@pytest.fixture(params=[True, False], ids=["room", "no room"])
def disk(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder for temporary files, or a missing one."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path if request.param else tmp_path / "missing"))


@pytest.mark.usefixtures("disk")
def test_pull_without_disk_space_lands_everything(store: LocalStore) -> None:
    """A pull lands everything, with or without a folder for temporary files, and leaves no file there."""
    fake = small_fake()
    finish(fake, SPEC, store)
    assert landed_ids(SPEC, store) == true_ids(fake)
    folder = Path(tempfile.gettempdir())
    assert not folder.exists() or {path.name for path in folder.iterdir()} == {"landed"}


@pytest.mark.usefixtures("disk")
@pytest.mark.parametrize("was_killed", [False, True])
def test_repeated_id_among_spilled_ids_fails_the_pull(was_killed: bool, store: LocalStore) -> None:
    """A repeated id fails the pull before its commit, also if the first one is in a killed attempt's part."""
    fake = small_fake()
    for when in (EARLY, LATE):
        fake.add(record_at(when, "twice"))
    if was_killed:
        kill(fake, SPEC, store)
        assert checkpoint_in(store).record_count > 0
    check_pull_fails(fake, store, was_killed)
    assert not visible_keys(store)


def check_pull_fails(fake: FakeCloudflare, store: LocalStore, was_killed: bool) -> None:
    """Asserts that the run fails; after a kill, the resuming run fails retryably and the next one permanently."""
    if was_killed:
        with pytest.raises(SourceUnavailableError, match="record than during the previous attempt") as caught:
            finish(fake, SPEC, store, "second")
        assert caught.value.retryable
        assert not staged_keys(store)
    with pytest.raises(SourceProtocolError, match=CONFLICT):
        finish(fake, SPEC, store)


@pytest.mark.parametrize(("still_there", "late"), [(True, LATE), (True, "2026-10-26T10:36:00Z"), (False, LATE)])
@pytest.mark.parametrize("was_killed", [False, True])
def test_late_record_with_a_committed_id_of_another_time_fails_the_pull(
    was_killed: bool, still_there: bool, late: str, store: LocalStore
) -> None:
    """A late record with the id of a committed one but another time adds nothing, also after a killed attempt."""
    first, second = small_fake(), small_fake()
    first.add(record_at(EARLY, "twice"))
    finish(first, SPEC, store, "first")
    committed = {key: store.read(key) for key in visible_keys(store)}
    for when in (EARLY, late) if still_there else (late,):
        second.add(record_at(when, "twice"))
    for number in range(2500):
        second.add(record_at(f"2026-10-26T10:{number // 60:02}:{number % 60:02}Z", f"late-{number}"))
    if was_killed:
        kill(second, SPEC, store, KILLED_AT + 2)
        assert f"{checkpoint_in(store).remainder.start:%H:%M}" == "10:33"
    check_pull_fails(second, store, was_killed)
    assert {key: store.read(key) for key in visible_keys(store)} == committed


def test_replacement_takes_the_new_time_of_a_record(store: LocalStore) -> None:
    """A replacement commits a record with its new time, but not if a committed record is missing."""
    first, second, third = small_fake(), small_fake(), small_fake()
    for when, record_id in ((EARLY, "moved"), (EARLY, "gone")):
        first.add(record_at(when, record_id))
    second.add(record_at(LATE, "moved"))
    third.add(record_at(LATE, "moved"))
    third.add(record_at(EARLY, "gone"))
    finish(first, SPEC, store, "first")
    with pytest.raises(VerificationError, match="no longer returns 1 committed record of"):
        finish(second, SPEC._replace(replace=True), store, "second")
    outcome = finish(third, SPEC._replace(replace=True), store, "third")
    assert (outcome.manifest.generation, outcome.manifest.record_count) == (2, 8002)
    assert landed_ids(SPEC, store) == true_ids(third)


def test_window_with_a_committed_repeated_id_can_be_pulled(store: LocalStore) -> None:
    """A window in which an id is committed twice can be pulled, and late records are added to it."""
    one, other, both = small_fake(), small_fake(), small_fake()
    one.add(record_at(EARLY, "twice"))
    other.add(record_at(LATE, "twice"))
    both.add(record_at(LATE, "twice"))
    both.add(record_at(LATE, "late"))
    finish(one, SPEC, store, "one")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unique_ids.DuplicateGuard, "check_conflicts", lambda *_: None)
        assert finish(other, SPEC, store, "other").manifest.generation == 2
    assert not finish(other, SPEC, store, "again").committed
    assert finish(both, SPEC, store, "late").manifest.added_count == 1


def test_record_that_changed_since_a_killed_attempt_fails_one_run(store: LocalStore) -> None:
    """A record of the second that is read again whose content differs from the staged one is found, not dropped."""
    kill(small_fake(), SPEC, store)
    last_at = f"{checkpoint_in(store).remainder.start:%Y-%m-%dT%H:%M:%SZ}"
    store.remove(list(store.list_keys("_staging/")))
    before, after = small_fake(), small_fake()
    before.add(record_at(last_at, "changed", action="one"))
    after.add(record_at(last_at, "changed", action="two"))
    kill(before, SPEC, store)
    with pytest.raises(SourceUnavailableError, match="record than during the previous attempt"):
        finish(after, SPEC, store, "second")
    assert finish(after, SPEC, store, "third").manifest.record_count == 8001


def test_record_that_moved_since_a_killed_attempt_fails_one_run(store: LocalStore) -> None:
    """The run after it does not resume the part that has the old time, and lands the current record."""
    before, after = small_fake(), small_fake()
    before.add(record_at(EARLY, "moved"))
    after.add(record_at(LATE, "moved"))
    kill(before, SPEC, store)
    with pytest.raises(SourceUnavailableError, match="record than during the previous attempt"):
        finish(after, SPEC, store, "second")
    assert finish(after, SPEC, store, "third").manifest.fetch.resumed_count == 0
    assert landed_ids(SPEC, store) == true_ids(after)


@pytest.mark.usefixtures("disk")
def test_ids_of_parts_that_are_not_adopted_do_not_count(store: LocalStore) -> None:
    """If a later part is damaged, no part is adopted, and ids read from intact ones do not count."""
    fake = small_fake()
    kill(fake, SPEC, store)
    key = checkpoint_in(store).parts[-1].staged_key
    store.remove([key])
    store.create(key, b"x" * checkpoint_in(store).parts[-1].size_bytes)
    assert finish(fake, SPEC, store).manifest.fetch.resumed_count == 0
    assert landed_ids(SPEC, store) == true_ids(fake)
