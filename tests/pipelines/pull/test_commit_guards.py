"""What is looked at before a commit: what it would replace, where its parts lie, who else was there, the date."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.core.ports import Request, Response, Transport
from airflow_audit_provider.exceptions import (
    CommitConflictError,
    StorageUnavailableError,
    VerificationError,
    WindowNotSettledError,
)
from airflow_audit_provider.pipelines import part_writer as staging
from airflow_audit_provider.pipelines import verify as auditing
from airflow_audit_provider.pipelines.pull_spec import PullSpec
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
    order,
    record_at,
    source_of,
    true_ids,
    visible_keys,
)
from tests.pipelines.pull.resuming import finish, kill, resumable_order, small_fake


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """An empty destination."""
    return LocalStore(str(tmp_path))


def _fake_of(*hours: int, minute: int = 0) -> FakeCloudflare:
    """Return a fake with one record in each of some hours."""
    fake = fake_with(ManualClock(), records_per_day=0)
    for hour in hours:
        fake.add(record_at(f"2026-10-26T{hour:02}:{minute:02}:00Z", f"record-{hour}"))
    return fake


def _land(fake: FakeCloudflare, store: LocalStore, wanted: PullSpec, transport: Transport | None = None) -> bool:
    return land(wanted, source_of(fake, ManualClock(), transport), store).committed


class _Meanwhile:
    """A transport during whose first answer something else happens."""

    def __init__(self, fake: FakeCloudflare, happen: Callable[[], object]) -> None:
        self._transport = DirectTransport(fake, ManualClock())
        self._happen: Callable[[], object] | None = happen

    def send(self, request: Request) -> Response:
        """Answer, and let it happen once."""
        answer, happen = self._transport.send(request), self._happen
        self._happen = None
        if happen is not None:
            happen()
        return answer


def test_a_replacement_gives_up_no_record_for_another(store: LocalStore) -> None:
    """As many records as before are not enough: one that is committed and not read again keeps everything in place."""
    _land(_fake_of(1, 2, 3), store, order())
    before = objects(store)
    with pytest.raises(VerificationError, match="no longer returns 1 committed records"):
        _land(_fake_of(2, 3, 4, 5), store, order(attempt_id="two", replace=True))
    assert objects(store) == before


def test_a_replacement_repairs_a_damaged_part(store: LocalStore) -> None:
    """A part that cannot be read is replaced, as long as no fewer records take its place."""
    _land(_fake_of(1, 2, 3), store, order())
    (part,) = (key for key in visible_keys(store) if key.startswith("dt="))
    store.remove([part])
    assert _land(_fake_of(1, 2, 3), store, order(attempt_id="two", replace=True))
    assert landed_ids(order(), store) == ["record-1", "record-2", "record-3"]
    assert auditing.verify(store).severe_count == 0


@pytest.mark.integration
def test_a_resumed_replacement_compares_what_the_first_try_read(
    monkeypatch: pytest.MonkeyPatch, store: LocalStore
) -> None:
    """What an earlier try staged counts as read again, and what it lacks as forgotten."""
    monkeypatch.setattr(staging, "PART_RECORDS", 2000)
    fake = small_fake()
    fake.add(record_at("2026-10-26T00:00:00Z", "soon forgotten"))
    finish(fake, resumable_order(), store)
    for other, is_refused in ((fake, False), (small_fake(), True)):
        replacing = resumable_order(replace=True)._replace(attempt_id=f"try-{is_refused}")
        kill(other, replacing, store)
        if is_refused:
            other.add(record_at("2026-10-26T23:59:59Z", "one more"))
            with pytest.raises(VerificationError, match="no longer returns 1 committed records"):
                finish(other, replacing, store)
        else:
            assert finish(other, replacing, store).manifest.fetch.resumed_count > 0
    assert landed_ids(order(), store) == true_ids(fake)


def test_what_the_api_no_longer_gives_is_told_and_stays(store: LocalStore) -> None:
    """A run that finds fewer records than are committed changes nothing and says how many did not come."""
    _land(_fake_of(1, 2, 3), store, order())
    before = objects(store)
    outcome = land(order(attempt_id="two", recount=True), source_of(_fake_of(2), ManualClock()), store)
    assert (outcome.committed, outcome.missing_count) == (False, 2)
    assert objects(store) == before


def test_a_time_that_is_told_anew_makes_no_second_record(store: LocalStore) -> None:
    """A committed record whose time is given a little earlier today, across a part's edge, is still committed."""
    first, second = fake_with(ManualClock(), records_per_day=0), fake_with(ManualClock(), records_per_day=0)
    first.add(record_at("2026-10-26T12:00:01Z", "one"))
    second.add(record_at("2026-10-26T12:00:00.9Z", "one"))
    assert _land(first, store, order())
    assert not _land(second, store, order(attempt_id="two"))
    assert landed_ids(order(), store) == ["one"]


def test_a_window_keeps_its_folder(store: LocalStore) -> None:
    """Late records are filed where the window is, though the run's time zone gives it another date now."""
    fake, wanted = _fake_of(1), order()
    _land(fake, store, wanted)
    fake.add(record_at("2026-10-26T05:00:00Z", "late"))
    moved = wanted.run_window._replace(partition_date=START.date() - timedelta(days=1))
    assert _land(fake, store, wanted._replace(run_window=moved, attempt_id="two"))
    assert {key.partition("/")[0] for key in visible_keys(store)} == {"_manifests", "dt=2026-10-26"}
    assert auditing.verify(store).severe_count == 0


@pytest.mark.parametrize("days", [(-4, 3), (-400, 1)])
def test_a_day_inside_a_longer_window_is_refused(days: tuple[int, int], store: LocalStore) -> None:
    """However long ago a committed window began, one that it covers is not landed a second time."""
    fake, (first, last) = fake_with(ManualClock(), records_per_day=4), days
    _land(fake, store, order(start=START + timedelta(days=first), end=START + timedelta(days=last)))
    with pytest.raises(CommitConflictError, match="overlaps"):
        _land(fake, store, order())


def test_an_hour_committed_while_its_day_is_read(store: LocalStore) -> None:
    """A window that overlaps and is committed meanwhile is seen before the manifest is made."""
    fake = fake_with(ManualClock())
    hour = order(end=START + timedelta(hours=1), attempt_id="hour")
    with pytest.raises(CommitConflictError, match="overlaps"):
        _land(fake, store, order(), _Meanwhile(fake, lambda: _land(fake, store, hour)))
    assert landed_ids(hour, store) == true_ids(fake, end=START + timedelta(hours=1))
    assert [key for key in visible_keys(store) if key.startswith("_manifests/")] == [keys_of(hour).manifest(1)]


def test_the_loser_takes_back_what_it_published(store: LocalStore) -> None:
    """Who finds the window committed with other records leaves none of its own where readers look."""
    fake, other = _fake_of(1, 2), _fake_of(1, 2, 3)
    meanwhile = _Meanwhile(fake, lambda: _land(other, store, order(attempt_id="other")))
    with pytest.raises(CommitConflictError, match="with other records"):
        _land(fake, store, order(), meanwhile)
    assert len([key for key in visible_keys(store) if key.startswith("dt=")]) == 1
    assert landed_ids(order(), store) == ["record-1", "record-2", "record-3"]
    assert [found.key for found in auditing.verify(store).findings if not found.key.startswith("_staging")] == []


def test_the_same_records_in_other_parts_agree(monkeypatch: pytest.MonkeyPatch, store: LocalStore) -> None:
    """Two runs that cut the same records into parts of other sizes hold the same: no conflict."""
    fake = fake_with(ManualClock(), records_per_day=3000)

    def land_in_small_parts() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(staging, "PART_RECORDS", 1000)
            _land(fake, store, order(attempt_id="other"))

    assert _land(fake, store, order(), _Meanwhile(fake, land_in_small_parts)) is False
    assert landed_ids(order(), store) == true_ids(fake)
    assert len([key for key in visible_keys(store) if key.startswith("dt=")]) == 3


class _CuttingStore(LocalStore):
    """A store that publishes less than was staged."""

    def publish(self, staged_key: str, key: str) -> None:
        """Publish, and lose the end."""
        super().publish(staged_key, key)
        path = self._root / key
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content[:-100])


def test_a_part_that_is_not_published_whole_is_no_commit(tmp_path: Path) -> None:
    """A store that lists a part shorter than it is staged gets no manifest, and another try may mend it."""
    store = _CuttingStore(str(tmp_path))
    with pytest.raises(StorageUnavailableError, match="does not list 1 parts as they were written"):
        _land(fake_with(ManualClock()), store, order())
    assert not list(store.list_keys("_manifests/"))


def test_a_staged_part_that_another_try_takes_away(monkeypatch: pytest.MonkeyPatch, store: LocalStore) -> None:
    """Parts taken over from a try that clears its staging meanwhile make the run fail so that a retry mends it."""
    monkeypatch.setattr(staging, "PART_RECORDS", 2000)
    fake = small_fake()
    kill(fake, resumable_order(), store)
    taken = [key for key in store.list_keys("_staging/") if "/one/" in key]
    wanted = resumable_order()._replace(attempt_id="two")
    with pytest.raises(StorageUnavailableError, match="does not list 2 parts as they were written"):
        _land(fake, store, wanted, _Meanwhile(fake, lambda: store.remove(taken)))
    assert visible_keys(store) == []
    finish(fake, wanted, store)
    assert landed_ids(wanted, store) == true_ids(fake)


class _LosingStore(LocalStore):
    """A store from which somebody removes the parts while the manifest is made."""

    def create(self, key: str, content: bytes) -> bool:
        """Create, with all parts gone before a manifest."""
        if key.startswith("_manifests/"):
            self.remove([key for key in self.list_keys("") if key.startswith("dt=")])
        return super().create(key, content)


def test_a_part_that_vanishes_during_the_commit_is_no_success(tmp_path: Path) -> None:
    """A commit whose parts are gone ends in the error that names the mend, not in green."""
    store = _LosingStore(str(tmp_path))
    fake = fake_with(ManualClock())
    with pytest.raises(VerificationError, match="replace=True"):
        _land(fake, store, order())
    whole = LocalStore(str(tmp_path))
    assert _land(fake, whole, order(attempt_id="two", replace=True))
    assert landed_ids(order(), whole) == true_ids(fake)


@pytest.mark.parametrize(("hour", "is_early"), [(6, True), (23, True), (24, False), (30, False)])
def test_the_apis_clock_counts_too(hour: int, is_early: bool, store: LocalStore) -> None:
    """A worker whose clock is days ahead does not commit a window that by the API's date is not over."""
    fake = fake_with(ManualClock(START + timedelta(hours=hour)))
    worker = ManualClock(datetime(2026, 11, 2, 12, tzinfo=UTC))
    source = source_of(fake, worker, DirectTransport(fake, worker))
    if not is_early:
        assert land(order(), source, store).committed
        return
    with pytest.raises(WindowNotSettledError, match="may be read from") as caught:
        land(order(), source, store)
    assert caught.value.settled_at == END
    assert visible_keys(store) == []
