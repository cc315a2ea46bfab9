"""The page of a window states what its manifests state, and which of them cannot be used."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_audit_provider._airflow.coverage_page.runs import Event, matching
from airflow_audit_provider._airflow.coverage_page.verify_view import verify_view
from airflow_audit_provider._airflow.coverage_page.views import dataset_view
from airflow_audit_provider._airflow.coverage_page.window_view import WindowView, window_view
from airflow_audit_provider._airflow.html_templates import templates_of
from airflow_audit_provider.core.archive.object_keys import WindowKeys
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.pipelines.overview import SeenWindow, overview
from airflow_audit_provider.pipelines.seal_objects import read_chain_by_index
from airflow_audit_provider.pipelines.window_history import MOST_READ, window_history
from tests._airflow.coverage_page import histories
from tests.pipelines.history.counting_store import CountingStore
from tests.pipelines.history.generated import END, committed, windows
from tests.pipelines.verify.dataset import DAY_1, HALF, commit, records_in, window
from tests.pipelines.verify.memory_store import MemoryStore

KEYS = WindowKeys(window(), DAY_1.date())
HOUR = timedelta(hours=1)


def _store(*counts: int) -> MemoryStore:
    """Returns a store with one generation of so many records each, which add to the one before."""
    store = MemoryStore()
    for number, count in enumerate(counts):
        commit(store, window(), records_in(window(), count, f"g{number}-"))
    return store


def _view(store: MemoryStore) -> WindowView:
    return window_view(window_history(store, KEYS))


def test_generations_are_listed_with_what_each_added() -> None:
    """The newest comes first, and each names the digest of the one before it."""
    view = _view(_store(5, 1))
    assert [(one.number, one.words) for one in view.generations] == [
        (2, "added 1 record: 6 records in all"),
        (1, "committed 5 records"),
    ]
    assert view.generations[0].chain == "names the digest of the generation before"
    assert not view.alerts
    assert [part.records for part in view.parts] == ["5", "1"]
    facts = dict(view.facts)
    assert (facts["Records"], facts["Added by the newest generation"]) == ("6", "1")


def test_query_of_window_has_the_whole_width_and_digest_has_not() -> None:
    """The description of the query is longer than the digest of the records, which fits a column."""
    parts: Any = templates_of("airflow_audit_provider._airflow.coverage_page").get_template("parts.html").module
    shown = str(parts.facts(_view(_store(1)).facts))
    assert '<div class="long"><dt>Query</dt>' in shown
    assert "<div><dt>SHA-256 of the added records</dt>" in shown


def test_generation_whose_predecessor_was_changed_does_not_name_it() -> None:
    """A changed manifest shows in the timeline."""
    store = _store(5, 1)
    store.objects[KEYS.manifest(1)] += b" "
    view = _view(store)
    assert (view.generations[0].chain, view.generations[0].is_broken) == ("DOES NOT name the generation before", True)
    (alert,) = view.alerts
    assert "Generation 2 does not name the digest of the generation before it" in alert
    assert "airflow-audit-provider verify" in alert


def test_generation_that_is_damaged_leaves_the_others() -> None:
    """The facts are those of the newest generation that can be read, and the damaged one has its reason."""
    store = _store(5, 1)
    store.objects[KEYS.manifest(2)] = b"{"
    view = _view(store)
    assert "cannot be decoded" in view.generations[0].problem
    assert view.alerts[0].startswith("The manifest of generation 2 cannot be used")
    assert dict(view.facts)["Records"] == "5"


def test_window_with_many_generations_reads_the_newest() -> None:
    """The number of reads has a bound, and the page says how many are left out."""
    store = _store(1)
    for number in range(2, MOST_READ + 12):
        store.objects[KEYS.manifest(number)] = b"{"
    store.reads.clear()
    view = _view(store)
    assert (len(store.reads), view.more_generations, view.generations[0].number) == (MOST_READ, 11, MOST_READ + 11)


def test_window_that_is_not_committed_has_no_generation() -> None:
    """Manifests of other windows of the day are not those of this one."""
    store = MemoryStore()
    other = window(0.5, HALF)
    commit(store, other, records_in(other, 2))
    assert window_history(store, KEYS) == ((), 0, 0, None)


_OWN = {"window_start": "2026-10-26T00:00:00+00:00", "window_end": "2026-10-26T12:00:00+00:00"}
_RANGE = {"window_start": "2026-10-01T00:00:00+00:00", "window_end": "2026-11-01T00:00:00+00:00"}
_LATER = {"window_start": "2026-10-27T00:00:00+00:00", "window_end": "2026-10-28T00:00:00+00:00"}
_LATE = {**_LATER, "late_windows": {KEYS.name: 2}}


@pytest.mark.parametrize(
    ("extra", "words", "wrote"),
    [
        ({**_OWN, "generation": 1, "committed": True}, "committed generation 1", 1),
        ({**_OWN, "generation": 2, "committed": False}, "found generation 2 committed", None),
        (_OWN, "landed a range that contains this window", None),
        (_RANGE, "landed a range that contains this window", None),
        ({**_RANGE, "windows": [["x", 1, KEYS.manifest(3)]]}, "committed generation 3", 3),
        (
            {**_RANGE, "windows": [7, [], [None], ["x", 1, "_manifests/x"]]},
            "landed a range that contains this window",
            None,
        ),
        (_LATE, "added late records, generation 2", 2),
        ({**_RANGE, "streams": {"v2": _LATE, "v1": _OWN}}, "added late records, generation 2", 2),
    ],
)
def test_run_of_window_states_which_generation_it_wrote(extra: Any, words: str, wrote: int | None) -> None:
    """The generation is that of the event, also of a run that is about another window and added late records."""
    event = Event(extra, "a/b", "run?1", "land", -1, DAY_1)
    (run,) = matching([event], window(), lambda dag_id: dag_id == "a/b", "v2")
    assert (run.words, run.wrote, run.task_page) == (words, wrote, "/dags/a%2Fb/runs/run%3F1/tasks/land")
    assert not list(matching([event], window(), lambda dag_id: False, "v2"))


@pytest.mark.parametrize(
    "extra",
    [
        {"window_start": "2026-10-26T06:00:00+00:00", "window_end": "2026-10-27T00:00:00+00:00"},
        {"window_start": "2026-10-26T00:00:00", "window_end": "2026-10-26T12:00:00"},
        {"window_start": 7, "window_end": None},
        {**_LATER, "late_windows": {KEYS.name: True}},
        {**_LATER, "late_windows": [KEYS.name]},
        {**_RANGE, "streams": {"v1": _OWN}},
        {**_RANGE, "streams": {"v2": "x"}},
        [],
        None,
    ],
)
def test_event_about_other_windows_is_no_run_of_this_one(extra: Any) -> None:
    """An extra that somebody else wrote is no run of the window, whatever it holds."""
    event = Event(extra, "dag", "run", "land", -1, DAY_1)
    assert not list(matching([event], window(), lambda dag_id: True, "v2"))


def _commands(*seen: SeenWindow) -> list[str]:
    gaps = dataset_view(overview_of(seen), datetime(2026, 11, 1, tzinfo=UTC)).gaps
    return [gap.backfill.command if gap.backfill else "" for gap in gaps]


def overview_of(seen: tuple[SeenWindow, ...]) -> Any:
    """Returns an overview with these windows."""
    import msgspec

    return msgspec.structs.replace(overview(MemoryStore()), windows=seen)


@pytest.mark.parametrize(
    ("first", "length", "bounds"),
    [
        (DAY_1, timedelta(days=1), "--from-date 2026-10-27 --to-date 2026-10-28"),
        (DAY_1, HOUR, "--from-date 2026-10-26T01:00:00+00:00 --to-date 2026-10-26T02:00:00+00:00"),
        (
            DAY_1 - HOUR,
            timedelta(days=1),
            "--from-date 2026-10-26T23:00:00+00:00 --to-date 2026-10-27T23:00:00+00:00",
        ),
    ],
    ids=["days", "hours", "local days"],
)
def test_command_of_gap_names_first_and_last_missing_window(first: datetime, length: timedelta, bounds: str) -> None:
    """Airflow's bounds are inclusive, and a window of the dataset starts at each of them."""
    seen = [SeenWindow(TimeWindow(first + n * length, first + (n + 1) * length), 1) for n in (0, 3)]
    command = _commands(*seen)[0]
    assert bounds in command
    assert command.startswith("airflow backfill create --dag-id cloudflare_audit_backfill")


def test_verify_page_shows_passes_and_seals() -> None:
    """The spans are those of the records of verifications, and a destination without a seal has none."""
    store = MemoryStore(histories.every_state())
    view = verify_view(overview(store).verified, read_chain_by_index(store))
    facts = dict(view.facts)
    assert (facts["Windows that are not verified"], facts["Seals"]) == ("4", "0")
    assert view.spans[0].verified == "not recorded"


@pytest.mark.integration
def test_overview_of_thirteen_thousand_indexed_windows_takes_few_calls() -> None:
    """18 months of hourly windows take as many calls as `coverage` of them."""
    from airflow_audit_provider.pipelines.coverage import coverage

    store = CountingStore(dict(committed(windows(542, per_day=24), records_per_window=1)))
    coverage(store, END, write_index=True)
    store.calls.clear()
    found = overview(store, most_read=0)
    assert len(found.windows) == 13_008
    assert all(one.is_read for one in found.windows)
    assert store.call_count <= 40
