"""A load of all windows follows the commit log: it looks at few objects, and at everything if the log may lack one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from deltalake import DeltaTable

from airflow_audit_provider.core.archive.object_keys import COMMIT_LOG_FOLDER, LogEntry, WindowKeys
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import ConfigurationError, VerificationError, WarehouseBusyError
from airflow_audit_provider.pipelines.load import LoadOutcome
from tests.pipelines.history.counting_store import CountingStore
from tests.pipelines.history.generated import committed, windows
from tests.pipelines.load.warehouses import KINDS, LoadTarget
from tests.pipelines.verify.dataset import DAY, commit, record, records_in, window
from tests.pipelines.verify.memory_store import MemoryStore

pytestmark = pytest.mark.integration
HOUR = timedelta(hours=1)
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
# For tests of what the log says: a warehouse keeps the position, and the tests of that run in each kind.
LOG_ALONE = pytest.mark.parametrize(
    "target", [KINDS[0], *(pytest.param(kind, marks=pytest.mark.nightly) for kind in KINDS[1:])], indirect=True
)


def _log(store: MemoryStore, of: TimeWindow, at: datetime, generation: int = 1, attempt_id: str = "one") -> str:
    """Writes the entry of an attempt."""
    entry = LogEntry(at.replace(microsecond=0), of, generation, attempt_id)
    store.create(entry.key, b"{}")
    return entry.key


def _commit(store: MemoryStore, day: float, at: datetime, name: str = "r", generation: int = 1) -> None:
    """Commits a record as a run does that begins at an instant."""
    _log(store, window(day), at, generation, name)
    commit(store, window(day), [record(window(day).start + generation * HOUR, name)])


@pytest.fixture
def store() -> CountingStore:
    """A destination of ten windows, the oldest of which were committed more than the horizon ago."""
    store = CountingStore({})
    for day in range(10):
        _commit(store, day, NOW - (10 - day) * DAY, f"r{day}")
    return store


def _ids(*more: str) -> list[str]:
    return sorted([*(f"r{day}" for day in range(10)), *more])


class Looks:
    """Loads into one target, and tells whether a load listed all manifests."""

    def __init__(self, target: LoadTarget, store: CountingStore) -> None:
        self._target = target
        self._store = store

    def load(self, now: datetime) -> LoadOutcome:
        """Loads at an instant."""
        self._store.calls.clear()
        self._store.reads.clear()
        self._store.listed.clear()
        return self._target.load(self._store, now=now)

    def were_full(self) -> bool:
        """Whether the last load listed all manifests."""
        return "_manifests/" in self._store.listed

    @property
    def read_count(self) -> int:
        """Number of objects that the last load read."""
        return len(self._store.reads)


@pytest.fixture
def looks(target: LoadTarget, store: CountingStore) -> Looks:
    """Everything is loaded by a first load, which lists all manifests."""
    looks = Looks(target, store)
    assert len(looks.load(NOW).loaded) == 10
    assert looks.were_full()
    return looks


def test_load_with_nothing_new_reads_nothing(looks: Looks, store: CountingStore) -> None:
    """Two listings, whatever is in the ledger; the windows count as unchanged."""
    outcome = looks.load(NOW + HOUR)
    assert (outcome.loaded, outcome.unchanged_count) == ((), 10)
    assert (looks.were_full(), looks.read_count, store.call_count) == (False, 0, 2)


@LOG_ALONE
def test_load_of_a_young_log_with_nothing_new_reads_nothing(target: LoadTarget) -> None:
    """A destination that began today takes two listings, too, and a new window its own reads."""
    store = CountingStore({})
    looks = Looks(target, store)
    for day in range(10):
        _commit(store, day, NOW - HOUR, f"r{day}")
    assert len(looks.load(NOW).loaded) == 10
    assert looks.load(NOW + HOUR).unchanged_count == 10
    assert (looks.were_full(), looks.read_count, store.call_count) == (False, 0, 2)
    _commit(store, 10, NOW + HOUR, "new")
    assert [one.window for one in looks.load(NOW + 2 * HOUR).loaded] == [window(10)]
    assert not looks.were_full()


@LOG_ALONE
def test_young_log_that_was_removed_is_not_followed(target: LoadTarget) -> None:
    """The load lists all manifests and finds the window that has no entry any more."""
    store = CountingStore({})
    looks = Looks(target, store)
    _commit(store, 0, NOW - HOUR, "r0")
    looks.load(NOW)
    commit(store, window(1), [record(window(1).start + HOUR, "silent")])
    store.remove([key for key in store.objects if key.startswith(COMMIT_LOG_FOLDER)])
    _log(store, window(0), NOW, 1, "another")
    assert [one.window for one in looks.load(NOW + HOUR).loaded] == [window(1)]
    assert looks.were_full()


def test_normal_commit_is_loaded(looks: Looks, store: CountingStore, target: LoadTarget) -> None:
    """A new window costs its own reads only."""
    _commit(store, 10, NOW + HOUR, "new")
    outcome = looks.load(NOW + 2 * HOUR)
    assert [one.window for one in outcome.loaded] == [window(10)]
    assert (outcome.unchanged_count, looks.were_full(), target.ids()) == (10, False, _ids("new"))
    assert store.call_count <= 6
    assert looks.load(NOW + 3 * HOUR).unchanged_count == 11
    assert looks.read_count == 0


@LOG_ALONE
@pytest.mark.parametrize("lag", [0 * HOUR, HOUR, -HOUR, 24 * HOUR, 47 * HOUR], ids=str)
def test_late_generation_of_an_old_window_is_loaded(
    lag: timedelta, looks: Looks, store: CountingStore, target: LoadTarget
) -> None:
    """Whether its entry is new, or old because the attempt took long or a clock is wrong."""
    _commit(store, 0, NOW + HOUR - lag, "late", generation=2)
    outcome = looks.load(NOW + 2 * HOUR)
    assert [(one.window, one.replaced_generation) for one in outcome.loaded] == [(window(0), 1)]
    assert (outcome.unchanged_count, looks.were_full(), target.ids()) == (9, False, _ids("late"))


@LOG_ALONE
def test_backfill_of_old_days_is_loaded(looks: Looks, store: CountingStore, target: LoadTarget) -> None:
    """Windows far before all others, each on a day of its own."""
    for day in range(-90, -20):
        _commit(store, day, NOW + HOUR, f"old{-day}")
    outcome = looks.load(NOW + 2 * HOUR)
    assert len(outcome.loaded) == 70
    assert len(target.ids()) == 80
    assert looks.load(NOW + 3 * HOUR).unchanged_count == 80
    assert looks.read_count == 0


@LOG_ALONE
def test_entry_whose_manifest_comes_later_is_looked_at_until_then(
    looks: Looks, store: CountingStore, target: LoadTarget
) -> None:
    """An attempt that is reading its window: a load costs the listing of one day, until the manifest is there."""
    _log(store, window(10), NOW + HOUR, attempt_id="slow")
    for hours in (2, 20):
        assert looks.load(NOW + hours * HOUR).unchanged_count == 10
        assert (looks.were_full(), looks.read_count, store.call_count) == (False, 0, 3)
    commit(store, window(10), records_in(window(10), 1, "slow"))
    assert len(looks.load(NOW + 24 * HOUR).loaded) == 1
    assert (looks.were_full(), target.ids()) == (False, _ids("slow0"))


@LOG_ALONE
def test_entry_of_a_killed_attempt_is_forgotten_after_some_days(looks: Looks, store: CountingStore) -> None:
    """It costs a listing and a read a load until its day is too old, after three to four days."""
    _log(store, window(3), NOW + HOUR, generation=2, attempt_id="killed")
    calls = []
    for days in range(6):
        assert looks.load(NOW + 2 * HOUR + days * DAY).unchanged_count == 10
        calls.append(store.call_count)
    assert calls == [4, 4, 4, 4, 4, 1]


@LOG_ALONE
def test_entry_of_a_killed_attempt_is_settled_by_the_next_commit(looks: Looks, store: CountingStore) -> None:
    """Its generation exists then, so that it commits nothing any more."""
    _log(store, window(3), NOW + HOUR, generation=2, attempt_id="killed")
    _commit(store, 3, NOW + 2 * HOUR, "late", generation=2)
    assert len(looks.load(NOW + 3 * HOUR).loaded) == 1
    assert looks.load(NOW + 4 * HOUR).unchanged_count == 10
    assert (looks.read_count, store.call_count) == (0, 2)


@LOG_ALONE
def test_entry_of_a_killed_attempt_may_overlap_what_is_loaded(
    looks: Looks, store: CountingStore, target: LoadTarget
) -> None:
    """A window that is landed with another length instead is not reported as lost."""
    for day, at in ((5, NOW + HOUR), (10, NOW + HOUR)):
        _log(store, TimeWindow(window(day).start, window(day).start + HOUR), at, attempt_id="killed")
    _commit(store, 10, NOW + 2 * HOUR, "new")
    assert len(looks.load(NOW + 3 * HOUR).loaded) == 1
    for hours in (4, 5):
        assert looks.load(NOW + hours * HOUR).unchanged_count == 11
        assert not looks.were_full()
    assert target.ids() == _ids("new")


@LOG_ALONE
def test_everything_is_looked_at_once_a_week(looks: Looks, store: CountingStore, target: LoadTarget) -> None:
    """A commit without an entry, by a version before 1.0.0rc1, is delayed, not lost."""
    commit(store, window(20), records_in(window(20), 1, "silent"))
    for hours in range(1, 7 * 24, 12):
        assert looks.load(NOW + hours * HOUR).loaded == ()
        assert not looks.were_full()
    assert len(looks.load(NOW + 7 * DAY).loaded) == 1
    assert (looks.were_full(), target.ids()) == (True, _ids("silent0"))
    looks.load(NOW + 7 * DAY + HOUR)
    assert not looks.were_full()


def _remove_log(store: CountingStore) -> None:
    store.remove([key for key in store.objects if key.startswith(COMMIT_LOG_FOLDER)])


def _remove_newest_entry(store: CountingStore) -> None:
    store.remove([max(key for key in store.objects if key.startswith(COMMIT_LOG_FOLDER))])


def _remove_old_days(store: CountingStore) -> None:
    newest = max(key for key in store.objects if key.startswith(COMMIT_LOG_FOLDER))
    store.remove([key for key in store.objects if key.startswith(COMMIT_LOG_FOLDER) and key[:22] != newest[:22]])


@LOG_ALONE
@pytest.mark.parametrize("change", [_remove_log, _remove_newest_entry, _remove_old_days])
def test_log_that_lacks_entries_is_not_followed(
    change: Callable[[CountingStore], None], looks: Looks, store: CountingStore, target: LoadTarget
) -> None:
    """A lifecycle rule or somebody has removed entries: all manifests are listed, and a new one is found."""
    commit(store, window(10), records_in(window(10), 1, "new"))
    change(store)
    assert len(looks.load(NOW + HOUR).loaded) == 1
    assert (looks.were_full(), target.ids()) == (True, _ids("new0"))


def test_destination_landed_anew_with_its_log_is_loaded(looks: Looks, store: CountingStore, target: LoadTarget) -> None:
    """The log has other entries than before, although windows and generations are the same."""
    store.remove(list(store.objects))
    for day in range(10):
        _log(store, window(day), NOW - (10 - day) * DAY, attempt_id="other")
        commit(store, window(day), records_in(window(day), 1, f"anew{day}-"))
    outcome = looks.load(NOW + HOUR)
    assert (len(outcome.loaded), looks.were_full()) == (10, True)
    assert all(one.is_landed_anew for one in outcome.loaded)
    assert target.ids() == sorted(f"anew{day}-0" for day in range(10))


def test_window_landed_anew_is_loaded(looks: Looks, store: CountingStore, target: LoadTarget) -> None:
    """One window is removed and landed again as generation 1: the new entry makes the load compare digests."""
    old = [key for key in store.objects if WindowKeys(window(4), window(4).start.date()).name in key]
    store.remove([key for key in old if not key.startswith(COMMIT_LOG_FOLDER)])
    _commit(store, 4, NOW + HOUR, "again")
    (loaded,) = looks.load(NOW + 2 * HOUR).loaded
    assert (loaded.is_landed_anew, looks.were_full()) == (True, False)
    assert target.ids() == sorted({*_ids("again")} - {"r4"})


def test_second_destination_is_not_taken_for_the_first(looks: Looks, target: LoadTarget) -> None:
    """The position is that of a dataset and a destination: another one under the same name is a conflict, as before."""
    other = MemoryStore()
    _commit(other, 0, NOW, "theirs")
    with pytest.raises(ConfigurationError, match="dataset name of its own"):
        target.load(other, destination="s3://elsewhere/audit", now=NOW + HOUR)
    assert looks.load(NOW + HOUR).unchanged_count == 10


@LOG_ALONE
def test_lost_manifest_of_a_logged_window_is_an_error_each_time(looks: Looks, store: CountingStore) -> None:
    """An error leaves the position as it is, so that the next load finds the window again."""
    _log(store, window(5), NOW + HOUR, generation=2, attempt_id="two")
    store.remove([key for key in store.objects if key.startswith(f"_manifests/dt={window(5).start.date()}")])
    for hours in (2, 3):
        with pytest.raises(VerificationError, match="is loaded, but the destination's newest is 0"):
            looks.load(NOW + hours * HOUR)


@LOG_ALONE
@pytest.mark.parametrize(("day", "generation"), [(10, 1), (0, 2)], ids=["new", "late"])
def test_damaged_window_stays_pending(
    day: int, generation: int, looks: Looks, store: CountingStore, target: LoadTarget
) -> None:
    """A load that fails at one window loads the others, and comes back to it."""
    before = set(store.objects)
    _commit(store, day, NOW + HOUR, "bad", generation)
    (part,) = (key for key in store.objects.keys() - before if key.startswith("dt="))
    _commit(store, 11, NOW + HOUR, "good")
    whole, store.objects[part] = store.objects[part], b""
    for hours in (2, 3):
        with pytest.raises(VerificationError, match="differs from its manifest"):
            looks.load(NOW + hours * HOUR)
    store.objects[part] = whole
    assert len(looks.load(NOW + 4 * HOUR).loaded) == 1
    assert target.ids() == _ids("bad", "good")


@LOG_ALONE
@pytest.mark.parametrize("hours", [2, 30 * 24])
def test_loader_with_a_clock_ahead_does_not_hide_commits(
    hours: int, looks: Looks, store: CountingStore, target: LoadTarget
) -> None:
    """A position from the future is not believed; one that is a little ahead is within the margin."""
    looks.load(NOW + hours * HOUR)
    _commit(store, 10, NOW + HOUR, "new")
    assert len(looks.load(NOW + 90 * timedelta(minutes=1)).loaded) == 1
    assert target.ids() == _ids("new")


def test_removed_ledger_entries_load_their_windows_again(
    looks: Looks, target: LoadTarget, store: CountingStore
) -> None:
    """Fewer windows in the ledger than before: everything is looked at."""
    if target.kind == "iceberg":
        table = target.iceberg_table()
        name = next(name for name in table.properties if name.startswith("audit.load"))
        with table.transaction() as transaction:
            transaction.remove_properties(name)
    elif target.kind == "delta":
        DeltaTable(target.delta_uri).alter.set_table_properties({"audit.ledger": "2"}, raise_if_not_exists=False)
    else:
        target.query(f"delete from {target.table}_loads where window_start = timestamp '2026-10-28 00:00:00+00'")
    # Entries of a Delta table's ledger are removed all at once.
    assert len(looks.load(NOW + HOUR).loaded) == (len(_ids()) if target.kind == "delta" else 1)
    assert looks.were_full()
    looks.load(NOW + 2 * HOUR)
    assert not looks.were_full()
    assert target.ids() == _ids()


def test_position_that_cannot_be_written_is_no_error(
    looks: Looks, store: CountingStore, target: LoadTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another loader writes one at the same time: the next load looks at the same windows again."""

    def busy(*_: object) -> None:
        raise WarehouseBusyError("Another loader. Run the task again.")

    with closing(target.open()) as warehouse:
        kind = type(warehouse)
    _commit(store, 10, NOW + HOUR, "new")
    with monkeypatch.context() as patch:
        patch.setattr(kind, "remember", busy)
        assert len(looks.load(NOW + 2 * HOUR).loaded) == 1
    assert looks.load(NOW + 3 * HOUR).unchanged_count == 11
    assert (looks.read_count, target.ids()) == (1, _ids("new"))


def _loaded_history(folder: Path, days: int, per_day: int) -> tuple[CountingStore, LoadTarget]:
    """Returns a history of some days, all loaded, the windows of the last four days in the log."""
    of = windows(days, per_day)
    store = CountingStore(dict(committed(of, 1)))
    for one in of[-4 * per_day :]:
        _log(store, one, one.end + HOUR)
    target = LoadTarget("duckdb", str(folder / f"{days}.duckdb"), "audit")
    with closing(target.open()) as warehouse:
        warehouse.prepare(())
    return store, target


@pytest.mark.parametrize("days", [50, pytest.param(500, marks=pytest.mark.nightly)])
def test_calls_with_nothing_new_do_not_grow_with_the_history(tmp_path: Path, days: int) -> None:
    """Two calls after 20 windows, and after ten or a hundred times as many."""
    counts = []
    for length in (5, days):
        store, target = _loaded_history(tmp_path, length, 4)
        now = windows(length, 4)[-1].end + 2 * HOUR
        target.load(store, now=now)
        store.calls.clear()
        assert target.load(store, now=now + HOUR).unchanged_count == length * 4
        counts.append(store.call_count)
    assert counts == [2, 2]
