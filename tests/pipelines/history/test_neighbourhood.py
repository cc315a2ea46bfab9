"""A task about some days lists and reads only what is around them, and finds there what a full listing finds."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest

from airflow_audit_provider.core.archive.object_keys import WindowKeys, window_in
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.pipelines import coverage as coverage_module
from airflow_audit_provider.pipelines import verify as verify_module
from airflow_audit_provider.pipelines.coverage import coverage
from airflow_audit_provider.pipelines.neighbourhood import days_of, list_around
from airflow_audit_provider.pipelines.seal import seal
from airflow_audit_provider.pipelines.verify import verify
from tests.pipelines.history.counted_calls import function_calls
from tests.pipelines.history.counting_store import CountingStore
from tests.pipelines.history.generated import END, committed, windows
from tests.pipelines.verify.dataset import DAY, DAY_1, HALF, commit, records_in
from tests.pipelines.verify.memory_store import MemoryStore

LAST_DAY = (END - DAY, END)
HOUR = timedelta(hours=1)


def _commit(store: MemoryStore, of: TimeWindow) -> None:
    """Commits a window as a pull does, with the announcement of a long one."""
    announcement = WindowKeys(of, of.start.date()).announcement
    if announcement is not None:
        store.create(announcement, b"{}")
    other = MemoryStore()
    commit(other, of, records_in(of, 2, f"{of.start:%j%H}-{of.length.total_seconds():.0f}-"))
    store.objects.update(other.objects)


@pytest.mark.integration
@pytest.mark.parametrize("task", [coverage, verify])
def test_cost_of_one_day_does_not_grow_with_the_history(task: Callable[..., object]) -> None:
    """A day takes as many calls of the store and of functions after 20 days as after 120."""
    costs = []
    for days in (20, 120):
        store = CountingStore(dict(committed(windows(days))))
        first = (store, END + DAY) if task is coverage else (store,)
        calls = function_calls(partial(task, *first, *LAST_DAY))
        costs.append((store.call_count, calls))
    (short_calls, short_functions), (long_calls, long_functions) = costs
    assert long_calls == short_calls
    # Coverage looks for datasets in all folders, so that it gets the name of each day's folder.
    names = 12 * 100 if task is coverage else 0
    assert long_functions < 1.02 * short_functions + names


@pytest.mark.parametrize(("task", "most"), [("coverage", 8), ("verify", 8)])
def test_one_day_takes_few_requests(task: str, most: int) -> None:
    """One day of a long history, with one window of one part."""
    store = CountingStore(dict(committed(windows(40))))
    found = verify(store, *LAST_DAY) if task == "verify" else coverage(store, END + DAY, *LAST_DAY)[0].coverage
    assert (found.window_count, found.record_count) == (1, 2)
    assert store.call_count <= most


def test_nothing_outside_of_the_neighbourhood_is_read() -> None:
    """Only the descriptor, the seals, and the manifest and part of the day are read."""
    store = CountingStore(dict(committed(windows(10))))
    seal(store)
    store.reads.clear()
    assert verify(store, *LAST_DAY).findings == ()
    read = {key for key in store.reads if not key.startswith("_seals/")} - {"_dataset.json"}
    assert {window_in(key) for key in read} == {TimeWindow(*LAST_DAY)}
    assert len(store.reads) == len(set(store.reads))


def test_windows_that_reach_into_the_range_are_listed_with_those_they_overlap() -> None:
    """A window of the evening before, one that overlaps only that one, and a long one that is announced."""
    store = MemoryStore()
    night = TimeWindow(DAY_1 - HOUR, DAY_1 + HOUR)
    evening = TimeWindow(DAY_1 - 25 * HOUR, DAY_1 - HALF)
    month = TimeWindow(DAY_1 - 30 * DAY, DAY_1 + HOUR)
    for one in (night, evening, month, TimeWindow(DAY_1 - 40 * DAY, DAY_1 - 39 * DAY)):
        _commit(store, one)
    listed = {window_in(key) for key in list_around(store, TimeWindow(DAY_1, DAY_1 + DAY)).manifest_keys}
    assert listed == {night, evening, month}


def test_announcement_without_a_window_is_no_window() -> None:
    """The announcement that a pull leaves if it is killed before its commit has no manifest."""
    store = MemoryStore()
    month = TimeWindow(DAY_1 - 30 * DAY, DAY_1 + HOUR)
    store.create(WindowKeys(month, month.start.date()).announcement or "", b"{}")
    assert list_around(store, TimeWindow(DAY_1, DAY_1 + DAY)).manifest_keys == []


def _random_store(chance: random.Random) -> MemoryStore:
    store = MemoryStore()
    for _ in range(chance.randint(2, 9)):
        start = DAY_1 + chance.randint(-80, 80) * HOUR
        _commit(store, TimeWindow(start, start + chance.choice([1, 5, 24, 24, 30, 100]) * HOUR))
    if chance.random() < 0.5:
        seal(store)
    for _ in range(chance.randint(0, 3)):
        key = chance.choice(sorted(key for key in store.objects if not key.startswith("_long_windows/")))
        damage = chance.choice(["delete", "change", "copy"])
        if damage == "copy":
            store.objects[f"{key.rsplit('/', 1)[0]}/more"] = b"x"
        elif damage == "delete":
            del store.objects[key]
        else:
            store.objects[key] = b"{}"
    return store


@pytest.fixture(name="with_full_listing")
def _with_full_listing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], object]:
    """Runs a task that lists everything."""

    def run(task: Callable[[], object]) -> object:
        with monkeypatch.context() as patch:
            patch.setattr(verify_module, "is_near", lambda _: False)
            patch.setattr(coverage_module, "is_near", lambda _: False)
            return task()

    return run


@pytest.mark.integration
@pytest.mark.parametrize("seed", range(40))
def test_findings_of_a_range_are_those_of_a_full_listing(
    seed: int, with_full_listing: Callable[[Callable[[], object]], object]
) -> None:
    """Any windows and damages: a range of days gives what a full listing gives of it, except for objects elsewhere."""
    chance = random.Random(seed)
    store = _random_store(chance)
    start = DAY_1 + chance.randint(-80, 80) * HOUR
    asked = TimeWindow(start, start + chance.choice([1, 24, 48]) * HOUR)

    def report() -> tuple[object, ...]:
        found = verify(store, asked.start, asked.end)
        kept = sorted({(str(one.kind), one.key) for one in found.findings if _is_promised(one.kind, one.key, asked)})
        return found.window_count, found.part_count, found.record_count, found.newest_manifests, kept

    assert report() == with_full_listing(report)


def _is_promised(kind: str, key: str, asked: TimeWindow) -> bool:
    """Returns whether a verification of a range promises to find it, see docs/auditors."""
    window = window_in(key)
    if kind in {"sealed_manifest_missing", "sealed_manifest_changed"} and window is not None:
        return window.overlaps(asked)
    if kind.startswith("object_"):
        return any(key.startswith((f"dt={day}/", f"_manifests/dt={day}/", "_seals/")) for day in days_of(asked))
    return kind != "dataset_missing"


@pytest.mark.integration
@pytest.mark.parametrize("seed", range(40))
def test_coverage_of_a_range_is_that_of_a_full_listing(
    seed: int, with_full_listing: Callable[[Callable[[], object]], object]
) -> None:
    """Any windows: spans, totals and what is pending are the same."""
    chance = random.Random(seed)
    store = MemoryStore()
    for _ in range(chance.randint(1, 12)):
        start = DAY_1 + chance.randint(-200, 200) * HOUR
        _commit(store, TimeWindow(start, start + chance.choice([1, 5, 24, 24, 30, 100]) * HOUR))
    if chance.random() < 0.3:
        del store.objects["_dataset.json"]
    start = DAY_1 + chance.randint(-200, 250) * HOUR
    end = start + chance.choice([1, 24, 48, 200]) * HOUR
    now = DAY_1 + chance.randint(0, 300) * HOUR
    assert coverage(store, now, start, end) == with_full_listing(lambda: coverage(store, now, start, end))


def test_missing_sealed_long_window_is_found_without_its_announcement() -> None:
    """A range finds that a long window is gone by the seals, which name every manifest."""
    store = MemoryStore()
    _commit(store, TimeWindow(DAY_1 - 5 * DAY, DAY_1 + 2 * DAY))
    _commit(store, TimeWindow(DAY_1 + 2 * DAY, DAY_1 + 3 * DAY))
    seal(store)
    asked = (DAY_1, DAY_1 + 3 * DAY)
    assert verify(store, *asked).severe_count == 0
    long_key = WindowKeys(TimeWindow(DAY_1 - 5 * DAY, DAY_1 + 2 * DAY), (DAY_1 - 5 * DAY).date()).manifest(1)
    del store.objects[next(key for key in store.objects if key.startswith("_long_windows/"))]
    assert verify(store, *asked).severe_count == 0
    assert verify(store, *asked).window_count == 2
    del store.objects[long_key]
    assert ("sealed_manifest_missing", long_key) in {(str(one.kind), one.key) for one in verify(store, *asked).findings}
