"""What a pull puts aside on its own machine: enough to find an id that came twice, with room on a disk or without."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.core.archive import unique_ids as roll
from airflow_audit_provider.exceptions import SourceProtocolError, SourceUnavailableError, VerificationError
from airflow_audit_provider.pipelines import part_writer as staging
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from tests.pipelines.pull.landing import landed_ids, record_at, staged_keys, true_ids, visible_keys
from tests.pipelines.pull.resuming import KILLED_AT, checkpoint_in, finish, kill, resumable_order, small_fake

pytestmark = pytest.mark.integration

WANTED = resumable_order()
EARLY, LATE = "2026-10-26T01:00:00Z", "2026-10-26T22:00:00Z"
CONFLICT = "with the id of another record of the window but another time|are committed with another time"


@pytest.fixture(autouse=True)
def small_amounts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Close a part after every 2000 records, and put ids aside after every 500."""
    monkeypatch.setattr(staging, "PART_RECORDS", 2000)
    monkeypatch.setattr(roll, "_MEMORY_COUNT", 500)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """The destination."""
    return LocalStore(str(tmp_path / "landed"))


@pytest.fixture(params=[True, False], ids=["room", "no room"])
def disk(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder for temporary files, and none."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path if request.param else tmp_path / "missing"))


@pytest.mark.usefixtures("disk")
def test_a_pull_needs_no_room(store: LocalStore) -> None:
    """It lands everything, and leaves nothing in the folder for temporary files."""
    fake = small_fake()
    finish(fake, WANTED, store)
    assert landed_ids(WANTED, store) == true_ids(fake)
    folder = Path(tempfile.gettempdir())
    assert not folder.exists() or {path.name for path in folder.iterdir()} == {"landed"}


@pytest.mark.usefixtures("disk")
@pytest.mark.parametrize("killed", [False, True])
def test_an_id_that_comes_twice_is_found_among_what_was_put_aside(killed: bool, store: LocalStore) -> None:
    """The pull fails before its commit, also when the first of the two is in a dead try's part."""
    fake = small_fake()
    for when in (EARLY, LATE):
        fake.add(record_at(when, "twice"))
    if killed:
        kill(fake, WANTED, store)
        assert checkpoint_in(store).record_count > 0
    refuse_landing(fake, store, killed)
    assert not visible_keys(store)


def refuse_landing(fake: FakeCloudflare, store: LocalStore, killed: bool) -> None:
    """Refuse a run that does not fail; the first after a dead try is to be repeated, the next one begins anew."""
    if killed:
        with pytest.raises(SourceUnavailableError, match="record than during the previous attempt") as caught:
            finish(fake, WANTED, store, "second")
        assert caught.value.retryable
        assert not staged_keys(store)
    with pytest.raises(SourceProtocolError, match=CONFLICT):
        finish(fake, WANTED, store)


@pytest.mark.parametrize(("still_there", "late"), [(True, LATE), (True, "2026-10-26T10:36:00Z"), (False, LATE)])
@pytest.mark.parametrize("killed", [False, True])
def test_a_late_record_under_a_committed_id_of_another_time_is_found(
    killed: bool, still_there: bool, late: str, store: LocalStore
) -> None:
    """Nothing is added, also where the API has moved the record, or a dead try had read the committed one."""
    first, second = small_fake(), small_fake()
    first.add(record_at(EARLY, "twice"))
    finish(first, WANTED, store, "first")
    committed = {key: store.read(key) for key in visible_keys(store)}
    for when in (EARLY, late) if still_there else (late,):
        second.add(record_at(when, "twice"))
    for number in range(2500):
        second.add(record_at(f"2026-10-26T10:{number // 60:02}:{number % 60:02}Z", f"late-{number}"))
    if killed:
        kill(second, WANTED, store, KILLED_AT + 2)
        assert f"{checkpoint_in(store).remainder.start:%H:%M}" == "10:33"
    refuse_landing(second, store, killed)
    assert {key: store.read(key) for key in visible_keys(store)} == committed


def test_a_record_that_moved_is_replaced(store: LocalStore) -> None:
    """What Cloudflare tells otherwise for good can be committed anew; what it does not tell at all is not given up."""
    first, second, third = small_fake(), small_fake(), small_fake()
    for when, record_id in ((EARLY, "moved"), (EARLY, "gone")):
        first.add(record_at(when, record_id))
    second.add(record_at(LATE, "moved"))
    third.add(record_at(LATE, "moved"))
    third.add(record_at(EARLY, "gone"))
    finish(first, WANTED, store, "first")
    with pytest.raises(VerificationError, match="no longer returns 1 committed records"):
        finish(second, WANTED._replace(replace=True), store, "second")
    outcome = finish(third, WANTED._replace(replace=True), store, "third")
    assert (outcome.manifest.generation, outcome.manifest.record_count) == (2, 8002)
    assert landed_ids(WANTED, store) == true_ids(third)


def test_a_window_that_holds_an_id_twice_is_still_read(store: LocalStore) -> None:
    """Doubled records are for an audit to find; with nothing to add a pull says nothing, and late ones land."""
    one, other, both = small_fake(), small_fake(), small_fake()
    one.add(record_at(EARLY, "twice"))
    other.add(record_at(LATE, "twice"))
    both.add(record_at(LATE, "twice"))
    both.add(record_at(LATE, "late"))
    finish(one, WANTED, store, "one")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(roll.DuplicateGuard, "check_conflicts", lambda *_: None)
        assert finish(other, WANTED, store, "other").manifest.generation == 2
    assert not finish(other, WANTED, store, "again").committed
    assert finish(both, WANTED, store, "late").manifest.added_count == 1


def test_a_record_that_changed_since_a_dead_try_is_no_repeat(store: LocalStore) -> None:
    """Of the second that is read again, what is said otherwise under a staged id is found, and not dropped."""
    kill(small_fake(), WANTED, store)
    last_at = f"{checkpoint_in(store).remainder.start:%Y-%m-%dT%H:%M:%SZ}"
    store.remove(list(store.list_keys("_staging/")))
    before, after = small_fake(), small_fake()
    before.add(record_at(last_at, "changed", action="one"))
    after.add(record_at(last_at, "changed", action="two"))
    kill(before, WANTED, store)
    with pytest.raises(SourceUnavailableError, match="record than during the previous attempt"):
        finish(after, WANTED, store, "second")
    assert finish(after, WANTED, store, "third").manifest.record_count == 8001


def test_a_record_that_moved_since_a_dead_try_fails_one_run_only(store: LocalStore) -> None:
    """The run after it does not go on from the part that has the old time, and lands what the API says now."""
    before, after = small_fake(), small_fake()
    before.add(record_at(EARLY, "moved"))
    after.add(record_at(LATE, "moved"))
    kill(before, WANTED, store)
    with pytest.raises(SourceUnavailableError, match="record than during the previous attempt"):
        finish(after, WANTED, store, "second")
    assert finish(after, WANTED, store, "third").manifest.fetch.resumed_count == 0
    assert landed_ids(WANTED, store) == true_ids(after)


@pytest.mark.usefixtures("disk")
def test_ids_of_parts_that_are_not_used_do_not_count(store: LocalStore) -> None:
    """Before a damaged part whole ones are read; nothing of them is used, and their ids come again once."""
    fake = small_fake()
    kill(fake, WANTED, store)
    key = checkpoint_in(store).parts[-1].staged_key
    store.remove([key])
    store.create(key, b"x" * checkpoint_in(store).parts[-1].size_bytes)
    assert finish(fake, WANTED, store).manifest.fetch.resumed_count == 0
    assert landed_ids(WANTED, store) == true_ids(fake)
