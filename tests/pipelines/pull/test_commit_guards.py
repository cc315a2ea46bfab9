"""Checks before a commit: committed records, listed parts, concurrent commits, and the API's date."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.core.ports import Transport
from airflow_audit_provider.core.verification.findings import severe
from airflow_audit_provider.exceptions import (
    CommitConflictError,
    StorageUnavailableError,
    VerificationError,
    WindowNotSettledError,
)
from airflow_audit_provider.pipelines import part_writer
from airflow_audit_provider.pipelines.pull_spec import PullSpec
from airflow_audit_provider.pipelines.verify import verify
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.in_process import DirectTransport
from tests.pipelines.pull.landing import (
    END,
    START,
    fake_with,
    keys_of,
    land,
    landed_ids,
    objects,
    pull_spec,
    reader_of,
    record_at,
    true_ids,
    visible_keys,
)
from tests.pipelines.pull.meanwhile import Meanwhile
from tests.pipelines.pull.resuming import finish, kill, resumable_spec, small_fake


def _fake_of(*hours: int, minute: int = 0) -> FakeCloudflare:
    """Returns a fake with one record in each of these hours."""
    fake = fake_with(ManualClock(), records_per_day=0)
    for hour in hours:
        fake.add(record_at(f"2026-10-26T{hour:02}:{minute:02}:00Z", f"record-{hour}"))
    return fake


def _land(fake: FakeCloudflare, store: LocalStore, spec: PullSpec, transport: Transport | None = None) -> bool:
    return land(spec, reader_of(fake, ManualClock(), transport), store).committed


def test_replacement_that_lacks_a_committed_record_fails(store: LocalStore) -> None:
    """A replacement that lacks a committed record fails and changes nothing, even if it has as many records."""
    _land(_fake_of(1, 2, 3), store, pull_spec())
    before = objects(store)
    with pytest.raises(VerificationError, match="no longer returns 1 committed record of"):
        _land(_fake_of(2, 3, 4, 5), store, pull_spec(attempt_id="two", replace=True))
    assert objects(store) == before


@pytest.mark.integration
def test_replacement_repairs_a_damaged_part(store: LocalStore) -> None:
    """A missing part is replaced if the replacement has at least as many records."""
    _land(_fake_of(1, 2, 3), store, pull_spec())
    (part,) = (key for key in visible_keys(store) if key.startswith("dt="))
    store.remove([part])
    assert _land(_fake_of(1, 2, 3), store, pull_spec(attempt_id="two", replace=True))
    assert landed_ids(pull_spec(), store) == ["record-1", "record-2", "record-3"]
    assert verify(store).severe_count == 0


@pytest.mark.integration
def test_resumed_replacement_compares_adopted_records(monkeypatch: pytest.MonkeyPatch, store: LocalStore) -> None:
    """Records that a resumed replacement adopts count as read again; a committed record that they lack fails it."""
    monkeypatch.setattr(part_writer, "PART_RECORDS", 2000)
    fake = small_fake()
    fake.add(record_at("2026-10-26T00:00:00Z", "soon forgotten"))
    finish(fake, resumable_spec(), store)
    for other, is_refused in ((fake, False), (small_fake(), True)):
        replacing = resumable_spec(replace=True)._replace(attempt_id=f"try-{is_refused}")
        kill(other, replacing, store)
        if is_refused:
            other.add(record_at("2026-10-26T23:59:59Z", "one more"))
            with pytest.raises(VerificationError, match="no longer returns 1 committed record of"):
                finish(other, replacing, store)
        else:
            assert finish(other, replacing, store).manifest.fetch.resumed_count > 0
    assert landed_ids(pull_spec(), store) == true_ids(fake)


@pytest.mark.integration
def test_missing_records_are_counted_and_stay_committed(store: LocalStore) -> None:
    """A run that finds fewer records than are committed changes nothing and counts the missing ones."""
    _land(_fake_of(1, 2, 3), store, pull_spec())
    before = objects(store)
    outcome = land(pull_spec(attempt_id="two", verify="recount"), reader_of(_fake_of(2), ManualClock()), store)
    assert (outcome.committed, outcome.missing_count) == (False, 2)
    assert objects(store) == before


def test_record_with_a_slightly_different_time_is_still_committed(store: LocalStore) -> None:
    """A committed record whose event time differs by less than a second is not added again."""
    first, second = fake_with(ManualClock(), records_per_day=0), fake_with(ManualClock(), records_per_day=0)
    first.add(record_at("2026-10-26T12:00:01Z", "one"))
    second.add(record_at("2026-10-26T12:00:00.9Z", "one"))
    assert _land(first, store, pull_spec())
    assert not _land(second, store, pull_spec(attempt_id="two"))
    assert landed_ids(pull_spec(), store) == ["one"]


@pytest.mark.integration
def test_window_keeps_its_partition_date(store: LocalStore) -> None:
    """Late records are added to the committed partition even if the run's time zone gives the window another date."""
    fake, spec = _fake_of(1), pull_spec()
    _land(fake, store, spec)
    fake.add(record_at("2026-10-26T05:00:00Z", "late"))
    moved = spec.run_window._replace(partition_date=START.date() - timedelta(days=1))
    assert _land(fake, store, spec._replace(run_window=moved, attempt_id="two"))
    assert {key.partition("/")[0] for key in visible_keys(store)} == {"_dataset.json", "_manifests", "dt=2026-10-26"}
    assert verify(store).severe_count == 0


@pytest.mark.integration
@pytest.mark.parametrize("days", [(-4, 3), (-400, 1)])
def test_day_inside_a_longer_window_conflicts(days: tuple[int, int], store: LocalStore) -> None:
    """A window inside a committed window conflicts, however long before it the committed window starts."""
    fake, (first, last) = fake_with(ManualClock(), records_per_day=4), days
    _land(fake, store, pull_spec(start=START + timedelta(days=first), end=START + timedelta(days=last)))
    with pytest.raises(CommitConflictError, match="overlaps"):
        _land(fake, store, pull_spec())


@pytest.mark.integration
def test_overlapping_window_committed_while_reading_conflicts(store: LocalStore) -> None:
    """An overlapping window that is committed during the read is detected before the manifest is created."""
    fake = fake_with(ManualClock())
    hour = pull_spec(end=START + timedelta(hours=1), attempt_id="hour")
    with pytest.raises(CommitConflictError, match="overlaps"):
        _land(fake, store, pull_spec(), Meanwhile(fake, lambda: _land(fake, store, hour)))
    assert landed_ids(hour, store) == true_ids(fake, end=START + timedelta(hours=1))
    assert [key for key in visible_keys(store) if key.startswith("_manifests/")] == [keys_of(hour).manifest(1)]


class CommittingStore(LocalStore):
    """A store in which another run commits right before the first manifest is created."""

    def __init__(self, root: str, commit: Callable[[], object]) -> None:
        super().__init__(root)
        self._commit: Callable[[], object] | None = commit

    def create(self, key: str, content: bytes) -> bool:
        """Lets the other run commit, then creates."""
        commit = self._commit if key.startswith("_manifests/") else None
        if commit is not None:
            self._commit = None
            commit()
        return super().create(key, content)


@pytest.mark.integration
@pytest.mark.parametrize("hours", [(0, 1), (23, 25), (-1, 25)])
def test_overlapping_windows_committed_at_the_same_time_do_not_both_succeed(
    hours: tuple[int, int], tmp_path: Path
) -> None:
    """A run finds after its commit that an overlapping window is committed, too."""
    fake, store = fake_with(ManualClock()), LocalStore(str(tmp_path))
    _land(fake, store, pull_spec(start=START + timedelta(days=2), end=START + timedelta(days=3)))
    first, last = (START + timedelta(hours=hour) for hour in hours)
    other = pull_spec(start=first, end=last, attempt_id="other")
    committing = CommittingStore(str(tmp_path), lambda: _land(fake, store, other))
    with pytest.raises(CommitConflictError, match="while this one committed") as caught:
        _land(fake, committing, pull_spec())
    assert caught.value.key == keys_of(other).manifest(1)
    assert {str(found.kind) for found in severe(verify(store).findings)} == {"windows_overlap"}


@pytest.mark.integration
def test_run_that_lost_the_race_removes_its_parts(store: LocalStore) -> None:
    """A run that loses the race to other records removes its published parts."""
    fake, other = _fake_of(1, 2), _fake_of(1, 2, 3)
    meanwhile = Meanwhile(fake, lambda: _land(other, store, pull_spec(attempt_id="other")))
    with pytest.raises(CommitConflictError, match="with other records"):
        _land(fake, store, pull_spec(), meanwhile)
    assert len([key for key in visible_keys(store) if key.startswith("dt=")]) == 1
    assert landed_ids(pull_spec(), store) == ["record-1", "record-2", "record-3"]
    assert [found.key for found in verify(store).findings if not found.key.startswith("_staging")] == []


@pytest.mark.integration
def test_same_records_in_other_parts_are_no_conflict(monkeypatch: pytest.MonkeyPatch, store: LocalStore) -> None:
    """A run that loses the race to the same records, in parts of another size, ends without an error."""
    fake = fake_with(ManualClock(), records_per_day=3000)

    def land_in_small_parts() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(part_writer, "PART_RECORDS", 1000)
            _land(fake, store, pull_spec(attempt_id="other"))

    assert _land(fake, store, pull_spec(), Meanwhile(fake, land_in_small_parts)) is False
    assert landed_ids(pull_spec(), store) == true_ids(fake)
    assert len([key for key in visible_keys(store) if key.startswith("dt=")]) == 3


class _TruncatingStore(LocalStore):
    """Store that publishes an object without its last 100 bytes."""

    def publish(self, staged_key: str, key: str) -> None:
        """Publishes, then truncates."""
        super().publish(staged_key, key)
        self._truncate(key)

    def put(self, key: str, content: bytes) -> bool:
        """Writes, then truncates."""
        is_confirmed = super().put(key, content)
        self._truncate(key)
        return is_confirmed

    def _truncate(self, key: str) -> None:
        path = self._root / key
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content[:-100])


@pytest.mark.integration
@pytest.mark.parametrize(("part_records", "part_count"), [(25_000, 1), (1000, 2)])
def test_truncated_published_part_prevents_the_commit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, part_records: int, part_count: int
) -> None:
    """A store that lists a published part with another size gets no manifest, and the error is retryable."""
    monkeypatch.setattr(part_writer, "PART_RECORDS", part_records)
    store = _TruncatingStore(str(tmp_path))
    with pytest.raises(StorageUnavailableError, match=f"does not list {part_count} parts? with the size"):
        _land(fake_with(ManualClock()), store, pull_spec())
    assert not list(store.list_keys("_manifests/"))


@pytest.mark.integration
def test_adopted_part_removed_by_another_attempt_is_retryable(
    monkeypatch: pytest.MonkeyPatch, store: LocalStore
) -> None:
    """A run whose adopted parts another attempt removes fails with a retryable error."""
    monkeypatch.setattr(part_writer, "PART_RECORDS", 2000)
    fake = small_fake()
    kill(fake, resumable_spec(), store)
    taken = [key for key in store.list_keys("_staging/") if "/one/" in key]
    spec = resumable_spec()._replace(attempt_id="two")
    with pytest.raises(StorageUnavailableError, match="does not list 2 parts with the size that was written"):
        _land(fake, store, spec, Meanwhile(fake, lambda: store.remove(taken)))
    assert visible_keys(store) == ["_dataset.json"]
    finish(fake, spec, store)
    assert landed_ids(spec, store) == true_ids(fake)


class _LosingStore(LocalStore):
    """Store whose parts are removed while the manifest is created."""

    def __init__(self, root: str, lost: tuple[str, ...] = ("dt=",)) -> None:
        super().__init__(root)
        self._lost = lost

    def create(self, key: str, content: bytes) -> bool:
        """Removes all parts, then creates the manifest."""
        if key.startswith("_manifests/"):
            self.remove([key for key in self.list_keys("") if key.startswith(self._lost)])
        return super().create(key, content)


@pytest.mark.integration
@pytest.mark.parametrize("part_records", [25_000, 1000], ids=["in memory", "staged"])
def test_part_that_is_removed_during_the_commit_is_published_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, part_records: int
) -> None:
    """A part that vanishes during the commit is published again from memory or from staging."""
    monkeypatch.setattr(part_writer, "PART_RECORDS", part_records)
    store = _LosingStore(str(tmp_path))
    fake = fake_with(ManualClock())
    assert _land(fake, store, pull_spec())
    assert landed_ids(pull_spec(), LocalStore(str(tmp_path))) == true_ids(fake)
    assert verify(store).severe_count == 0


@pytest.mark.integration
def test_part_removed_during_the_commit_with_its_staged_copy_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A run whose parts vanish during its commit, in staging too, fails and names the fix."""
    monkeypatch.setattr(part_writer, "PART_RECORDS", 1000)
    store = _LosingStore(str(tmp_path), ("dt=", "_staging/"))
    fake = fake_with(ManualClock())
    with pytest.raises(VerificationError, match="replace=True"):
        _land(fake, store, pull_spec())
    whole = LocalStore(str(tmp_path))
    assert _land(fake, whole, pull_spec(attempt_id="two", replace=True))
    assert landed_ids(pull_spec(), whole) == true_ids(fake)


@pytest.mark.integration
@pytest.mark.parametrize(("hour", "is_early"), [(6, True), (23, True), (24, False), (30, False)])
def test_window_unsettled_by_the_apis_date_is_not_committed(hour: int, is_early: bool, store: LocalStore) -> None:
    """A worker whose clock is days ahead does not commit a window that is not over by the API's date."""
    fake = fake_with(ManualClock(START + timedelta(hours=hour)))
    worker = ManualClock(datetime(2026, 11, 2, 12, tzinfo=UTC))
    reader = reader_of(fake, worker, DirectTransport(fake, worker))
    if not is_early:
        assert land(pull_spec(), reader, store).committed
        return
    with pytest.raises(WindowNotSettledError, match="cannot be read before") as caught:
        land(pull_spec(), reader, store)
    assert caught.value.settled_at == END
    assert visible_keys(store) == []
