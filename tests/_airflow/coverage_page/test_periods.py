"""Each day shows the worst state of its parts and the figures of its windows, in UTC."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from airflow_audit_provider._airflow.coverage_page.periods import State, gaps, history, levels, periods, state_spans
from airflow_audit_provider._airflow.coverage_page.views import DatasetView, dataset_view, day_view, window_row
from airflow_audit_provider.core.windows.readiness import whole_windows_start_at
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.pipelines.overview import SeenWindow, overview
from tests._airflow.coverage_page import histories
from tests.pipelines.history.generated import committed, windows
from tests.pipelines.verify.memory_store import MemoryStore

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
START = datetime(2026, 10, 1, tzinfo=UTC)
NOW = datetime(2026, 10, 10, 12, tzinfo=UTC)


def _seen(first: float, days: float = 1, **facts: Any) -> SeenWindow:
    window = TimeWindow(START + first * DAY, START + (first + days) * DAY)
    return SeenWindow(window, 1, **{"record_count": 24, "size_bytes": 240, "verified_at": NOW, **facts})


def _states(*seen: SeenWindow, days: int = 9) -> list[State]:
    return [one.state for one in periods(START, days, DAY, seen, gaps(history(seen, NOW), NOW))]


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        ({}, State.COMMITTED),
        ({"record_count": 0}, State.EMPTY),
        ({"verified_at": None}, State.COMMITTED),
        ({"late_count": 1}, State.LATE),
        ({"is_foreign": True}, State.FOREIGN),
        ({"is_read": False}, State.UNREAD),
        ({"problem": "cut"}, State.DAMAGED),
    ],
)
def test_day_with_one_window_has_state_of_window(facts: dict[str, Any], state: State) -> None:
    """The window's own facts decide."""
    assert _states(_seen(0, **facts), days=1) == [state]


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({}, "committed"),
        ({"record_count": 0}, "committed, empty"),
        ({"late_count": 1}, "extended by late records"),
    ],
)
def test_day_shows_beside_its_state_whether_it_is_verified(facts: dict[str, Any], words: str) -> None:
    """The calendar, the list of windows and the spans of the report say both, in words and as a mark."""
    for verified_at, rest, is_marked in ((NOW, " and verified", False), (None, ", not verified", True)):
        seen = _seen(0, verified_at=verified_at, **facts)
        found = msgspec.structs.replace(overview(MemoryStore()), windows=(seen,))
        month = next(one for one in dataset_view(found, NOW).months if one.name == "October 2026")
        cell, row = month.cells[0], window_row(seen)
        (span,) = state_spans([seen], ())
        assert (cell.label.split(". ")[0], cell.classes.endswith(" unverified")) == (
            f"2026-10-01: {words}{rest}",
            is_marked,
        )
        assert (row.words, row.look.endswith(" unverified")) == (words + rest, is_marked)
        assert span.words == words + rest


def test_spans_of_one_state_are_divided_where_the_verified_ones_end() -> None:
    """A span that is not verified is not joined with one that is."""
    spans = state_spans([_seen(0), _seen(1), _seen(2, verified_at=None)], ())
    assert [(one.window_count, one.is_unverified) for one in spans] == [(2, False), (1, True)]


@pytest.mark.parametrize("facts", [{"is_foreign": True}, {"is_read": False}, {"problem": "cut"}])
def test_window_that_no_verification_can_pass_has_no_mark(facts: dict[str, Any]) -> None:
    """Its state says already what is wrong."""
    row = window_row(_seen(0, verified_at=None, **facts))
    assert "verified" not in row.words + row.look


def test_day_with_missing_hour_shows_that_the_others_are_not_verified() -> None:
    """A worse state does not hide the mark."""
    hours = [_seen(number / 24, 1 / 24, verified_at=None) for number in range(24) if number != 7]
    (day,) = periods(START, 1, DAY, hours, gaps(history(hours, NOW), NOW))
    assert (day.state, day.is_unverified) == (State.MISSING, True)


def test_day_with_several_parts_has_worst_state() -> None:
    """An hour that is missing shows, however many are committed."""
    hours = [_seen(number / 24, 1 / 24) for number in range(24) if number != 7]
    assert _states(*hours, days=1) == [State.MISSING]
    assert _states(*hours, _seen(1, 1 / 24, problem="cut"), days=2) == [State.MISSING, State.DAMAGED]


def test_days_around_windows_are_missing_pending_or_before() -> None:
    """Between windows a day is missing, before the first one it is no gap, and after what is due it is pending."""
    states = _states(_seen(1), _seen(3), days=11)
    assert states[:4] == [State.BEFORE, State.COMMITTED, State.MISSING, State.COMMITTED]
    assert states[8:] == [State.MISSING, State.PENDING, State.BEFORE]


def test_damaged_manifest_ends_what_is_complete() -> None:
    """Nothing states which records its window has, so nothing after it is complete without a gap."""
    found = history([_seen(0), _seen(1, problem="cut"), _seen(2)], NOW)
    assert found is not None
    assert (found.first_at, found.last_at) == (START, START + 3 * DAY)
    assert found.complete_until_at == START + DAY
    assert {span.start for span in found.absent} == {START + 3 * DAY, START + 9 * DAY}


def test_figures_leave_out_other_datasets_and_say_what_is_not_known() -> None:
    """Records of another dataset are not counted, and a window without a readable manifest may have more."""
    seen = overview(MemoryStore(dict(committed(windows(3), 5))))
    first, second, third = seen.windows
    for changed, records in (
        (second, "15"),
        (msgspec.structs.replace(second, is_foreign=True), "10"),
        (SeenWindow(second.window, 1, is_read=False), "10 or more"),
        (SeenWindow(second.window, 1, problem="cut"), "10 or more"),
    ):
        view = dataset_view(msgspec.structs.replace(seen, windows=(first, changed, third)), NOW)
        assert dict(view.facts)["Records"] == records


def test_gap_older_than_retention_is_divided_where_retention_begins() -> None:
    """What Cloudflare no longer has is not counted with what can still be read."""
    kept_at = whole_windows_start_at(NOW)
    first = TimeWindow(kept_at - 20 * DAY, kept_at - 19 * DAY)
    last = TimeWindow(kept_at + 5 * DAY, kept_at + 6 * DAY)
    found = gaps(history([SeenWindow(first, 1), SeenWindow(last, 1)], NOW), NOW)
    assert [state for _, state in found][:2] == [State.LOST, State.MISSING]
    assert (found[0][0].start, found[0][0].end, found[1][0].end) == (first.end, kept_at, last.start)


def test_window_of_local_day_gives_each_utc_day_its_share() -> None:
    """A window that crosses midnight counts in both days, and no record twice."""
    seen = _seen(0.25)
    days = periods(START, 2, DAY, [seen], ())
    assert [one.records for one in days] == [18, 6]
    assert all(one.is_share for one in days)


def test_days_of_thousands_of_long_windows_that_overlap_take_bounded_work() -> None:
    """Somebody who writes to the bucket can name such windows, and each of them stays in at least one day."""
    seen = [_seen(-1, 500 + number / 1000) for number in range(3000)]
    days = periods(START, 400, DAY, seen, ())
    assert len(days[0].windows) == 3000
    assert len(days[-1].windows) == 100
    assert sum(len(one.windows) for one in days) <= 101 * 400 + 3000


def test_gap_outside_of_periods_marks_none_of_them() -> None:
    """A gap of tomorrow does not make the last hour of a day missing."""
    seen = [_seen(0), _seen(3)]
    hours = periods(START, 24, HOUR, seen, gaps(history(seen, NOW), NOW))
    assert {one.state for one in hours} == {State.COMMITTED}


def test_levels_of_one_busy_day_keep_other_days_apart() -> None:
    """The intensity is the rank of a day, so a thousandfold day does not hide differences between the others."""
    days = periods(START, 5, DAY, [_seen(n, record_count=c) for n, c in enumerate([0, 1, 2, 3, 100_000])], ())
    assert levels(days) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("hours", [-11, 0, 14])
def test_page_with_clock_in_another_zone_shows_same_days(hours: int) -> None:
    """The zone of the server's clock changes nothing."""
    found = overview(MemoryStore(dict(committed(windows(3)))))
    now = datetime(2026, 11, 2, 1, 30, tzinfo=UTC)
    view = dataset_view(found, now.astimezone(timezone(timedelta(hours=hours))))
    assert view == dataset_view(found, now)


def _view(objects: dict[str, bytes]) -> DatasetView:
    return dataset_view(overview(MemoryStore(objects)), histories.today() + 3 * HOUR)


def test_page_of_every_state_counts_each() -> None:
    """The figures above the calendar are those of the history."""
    facts = dict(_view(histories.every_state()).facts)
    assert facts["Windows"] == "504"
    assert [facts[name] for name in ("Empty", "Extended by late records", "Damaged manifests")] == ["1", "1", "1"]
    assert (facts["Of another dataset"], facts["Not verified"]) == ("1", "4")
    assert facts["Missing"].startswith("5 gaps")
    assert facts["Beyond retention"].startswith("1 gap")
    assert facts["Newest seal"] == "none"


@pytest.mark.parametrize(
    ("days_ago", "first", "skipped_count"), [(600, "May 2025", 0), (100, "August 2026", 15), (3, "September 2026", 16)]
)
def test_calendar_begins_with_the_first_window_or_three_months_ago(
    days_ago: int, first: str, skipped_count: int
) -> None:
    """Months before the first window are left out of the calendar and of the histogram."""
    now = datetime(2026, 11, 30, 12, tzinfo=UTC)
    window = TimeWindow(now - days_ago * DAY, now - (days_ago - 1) * DAY)
    seen = msgspec.structs.replace(overview(MemoryStore()), windows=(SeenWindow(window, 1, record_count=1),))
    view = dataset_view(seen, now)
    assert (view.shown_months[0].name, view.skipped_count) == (first, skipped_count)
    assert view.day_count == sum(len(month.cells) for month in view.shown_months)
    assert len(view.months) == 19
    assert all(bar.x < view.day_count for bar in view.bars)


def test_page_of_empty_destination_has_figures() -> None:
    """A destination without a window has a calendar of its months and no figure that fails."""
    view = _view({})
    assert dict(view.facts)["Windows"] == "0"
    assert not view.bars
    assert {cell.state for month in view.months for cell in month.cells} == {State.BEFORE}


@pytest.mark.integration
def test_page_of_ten_thousand_damaged_manifests_reads_some_and_lists_all_windows() -> None:
    """The newest 2,000 are read and named as damaged; the others are shown as not read, and the page has a bound."""
    store = MemoryStore(histories.damaged(10_000))
    found = overview(store)
    assert len([key for key in store.reads if key.startswith("_manifests/")]) == 2000
    facts = dict(dataset_view(found, histories.today()).facts)
    assert (facts["Windows"], facts["Damaged manifests"], facts["Not read yet"]) == ("10,000", "2,000", "8,000")
    assert len(dataset_view(found, histories.today()).damaged) == 50


def test_day_of_hourly_windows_lists_each_hour() -> None:
    """Each hour has its own state and figures."""
    of = windows(1, per_day=24)
    objects = dict(committed(of[:7] + of[8:]))
    view = day_view(overview(MemoryStore(objects)), date(2026, 10, 31), datetime(2026, 11, 2, tzinfo=UTC))
    assert [cell.classes for cell in view.hours][6:9] == [
        "committed v1 unverified",
        "missing v0",
        "committed v1 unverified",
    ]
    assert len(view.windows) == 23
