"""Gaps are whole windows with a reason and an expiry; what no pull can fill is never among those to fill."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from airflow_audit_provider.core.archive.object_keys import LogEntry, WindowKeys
from airflow_audit_provider.core.verification.gaps import (
    Division,
    Gap,
    GapReason,
    GapReport,
    chosen,
    committed_gaps,
    late_windows,
    missing_gaps,
)
from airflow_audit_provider.core.windows.window import TimeWindow

NOW = datetime(2026, 11, 30, 3, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
DAYS = Division("day", "UTC", NOW)


def at(month: int, day: int, hour: int = 0, year: int = 2026) -> datetime:
    """Returns an hour in UTC."""
    return datetime(year, month, day, hour, tzinfo=UTC)


def a_day(month: int, day: int) -> TimeWindow:
    """Returns a UTC day."""
    return TimeWindow(at(month, day), at(month, day) + DAY)


def facts(gaps: list[Gap]) -> list[tuple[datetime, datetime, str, int]]:
    """Returns what the gaps are, without their expiry."""
    return [(gap.start, gap.end, str(gap.reason), gap.window_count) for gap in gaps]


def test_missing_days_are_one_gap_with_the_expiry_of_the_first() -> None:
    """A gap of three days can be read for as many days as its first day."""
    (gap,) = missing_gaps([TimeWindow(at(10, 5), at(10, 8))], DAYS)
    assert facts([gap]) == [(at(10, 5), at(10, 8), "missing", 3)]
    # 18 months after the three days before its start.
    assert gap.expires_at == at(4, 2, year=2028)
    assert gap.days_left(NOW) == (at(4, 2, year=2028) - NOW).days
    assert gap.is_divided


def test_long_gap_is_divided_into_gaps_of_31_days() -> None:
    """A task that fails at one window holds up at most a month, and every window is in one gap."""
    gaps = missing_gaps([TimeWindow(at(1, 1), at(4, 1))], DAYS)
    assert [gap.window_count for gap in gaps] == [31, 31, 28]
    assert (gaps[0].start, gaps[-1].end) == (at(1, 1), at(4, 1))
    assert all(one.end == other.start for one, other in pairwise(gaps))


def test_hours_of_a_local_zone_are_divided_there() -> None:
    """The windows of a gap are those that a divided run commits."""
    kolkata = Division("hour", "Asia/Kolkata", NOW)
    span = TimeWindow(at(11, 1, 0) + HOUR / 2, at(11, 1, 3) + HOUR / 2)
    (gap,) = missing_gaps([span], kolkata)
    assert facts([gap]) == [(span.start, span.end, "missing", 3)]


def test_part_of_a_day_is_reported_as_partial() -> None:
    """A part of a day, once committed, would overlap the whole one, so it is not due."""
    gaps = missing_gaps([TimeWindow(at(11, 1, 6), at(11, 3, 4))], DAYS)
    assert facts(gaps) == [
        (at(11, 1, 6), at(11, 2), "partial", 1),
        (at(11, 2), at(11, 3), "missing", 1),
        (at(11, 3), at(11, 3, 4), "partial", 1),
    ]
    assert [gap.is_due for gap in gaps] == [False, True, False]


def test_what_the_api_no_longer_has_is_lost() -> None:
    """Of a gap around the end of the retention, the older days are lost and the others are due."""
    # 18 months before now are 2025-05-30, and three days of them may be incomplete.
    gaps = missing_gaps([TimeWindow(at(5, 1, year=2025), at(6, 10, year=2025))], DAYS)
    assert facts(gaps) == [
        (at(5, 1, year=2025), at(6, 3, year=2025), "lost", 33),
        (at(6, 3, year=2025), at(6, 10, year=2025), "missing", 7),
    ]
    assert (gaps[0].days_left(NOW), gaps[1].days_left(NOW)) == (0, 0)
    assert [gap.is_due for gap in gaps] == [False, True]


def test_days_before_the_history_of_version_2_are_not_due() -> None:
    """Version 2 has no records of them, so a pull would commit days that look quiet."""
    division = DAYS._replace(history_starts_at=at(3, 10))
    gaps = missing_gaps([TimeWindow(at(3, 8), at(3, 12))], division)
    assert [gap.reason for gap in gaps] == [GapReason.NO_HISTORY, GapReason.MISSING]


def test_late_and_unverified_windows_are_read_as_they_are_committed() -> None:
    """Whole days are joined; a window of another length is a gap of its own; late comes before unverified."""
    odd = TimeWindow(at(11, 5), at(11, 5, 6))
    late, unverified = [a_day(11, 3)], [a_day(11, 1), a_day(11, 2), a_day(11, 3), odd]
    gaps = committed_gaps(late, unverified, DAYS)
    assert facts(gaps) == [
        (at(11, 1), at(11, 3), "unverified", 2),
        (at(11, 3), at(11, 4), "late", 1),
        (at(11, 5), at(11, 5, 6), "unverified", 1),
    ]
    assert [gap.is_divided for gap in gaps] == [True, True, False]


def test_committed_window_beyond_the_retention_is_no_gap() -> None:
    """It can no longer be read, and it is there."""
    old = TimeWindow(at(1, 1, year=2025), at(1, 2, year=2025))
    assert committed_gaps([old], [old], DAYS) == []


def test_last_commit_decides_whether_a_window_is_late() -> None:
    """Entries of attempts that have committed nothing do not count, nor do windows without an entry."""
    one, other, unknown = a_day(11, 1), a_day(11, 2), a_day(11, 3)
    newest = {one: manifest_key(one, 2), other: manifest_key(other, 1), unknown: manifest_key(unknown, 1)}
    entries = [
        LogEntry(at(11, 2, 1), one, 1, "a"),
        LogEntry(at(11, 9), one, 2, "b"),
        LogEntry(at(11, 3, 1), other, 1, "a"),
        LogEntry(at(11, 9), other, 2, "killed"),
        LogEntry(at(11, 9), a_day(11, 8), 1, "never committed"),
    ]
    seen = {}

    def is_suspect(window: TimeWindow, committed_at: datetime) -> bool:
        seen[window] = committed_at
        return committed_at < window.end + DAY

    assert late_windows(newest, entries, is_suspect) == [other]
    assert seen == {one: at(11, 9), other: at(11, 3, 1)}


def manifest_key(window: TimeWindow, generation: int) -> str:
    """Returns the key of a window's manifest."""
    return WindowKeys(window, window.start.date()).manifest(generation)


def test_chosen_gaps_are_in_order_of_expiry_and_keep_late_ones() -> None:
    """If there are too many, missing ones stay for the next run, which would not suspect the late ones any more."""
    missing = missing_gaps([a_day(10, 1), a_day(10, 3), a_day(10, 5)], DAYS)
    late = committed_gaps([a_day(11, 20)], [a_day(11, 22)], DAYS)
    everything = [*late, *missing]
    found, remaining = chosen(everything, (GapReason.MISSING, GapReason.LATE), 2)
    assert facts(found) == [(at(10, 1), at(10, 2), "missing", 1), (at(11, 20), at(11, 21), "late", 1)]
    assert remaining == 2
    assert chosen(everything, (GapReason.UNVERIFIED,), 2)[1] == 0
    assert len(chosen(everything, tuple(GapReason), 10)[0]) == 5


def test_report_states_days_left_and_what_is_lost() -> None:
    """The table has the days left of each due gap; the summary those of the first, and the windows by reason."""
    due = missing_gaps([a_day(10, 1), TimeWindow(at(10, 3), at(10, 5))], DAYS)
    lost = missing_gaps([TimeWindow(at(1, 1, year=2025), at(1, 3, year=2025))], DAYS)
    report = GapReport(NOW, at(1, 1, year=2025), at(11, 30), tuple(due), tuple(lost), 7)
    summary = report.summary()
    assert summary["days_left"] == due[0].days_left(NOW) > 400
    assert (summary["gap_count"], summary["remaining_count"]) == (2, 7)
    windows = summary["windows"]
    assert isinstance(windows, dict)
    assert {name: count for name, count in windows.items() if count} == {"missing": 3, "lost": 2}
    first, *_ = (line for line in report.text().splitlines() if "missing" in line)
    assert str(due[0].days_left(NOW)) in first.split()
    assert report.text().splitlines()[1].split()[2] == "lost"


def test_table_of_many_gaps_is_short() -> None:
    """The text has fifty gaps and says how many more there are."""
    spans = [a_day(month, day) for month in (7, 8, 9, 10) for day in range(1, 30, 2)]
    report = GapReport(NOW, at(7, 1), at(11, 1), tuple(missing_gaps(spans, DAYS)))
    assert report.text().endswith("10 more\n")


@pytest.mark.parametrize("reason", list(GapReason))
def test_event_of_a_gap_has_what_matters_at_a_glance(reason: GapReason) -> None:
    """Its facts are the reason, the window, the number of windows and the days left, in few bytes."""
    gap = Gap(at(11, 1), at(11, 3), reason, 2, at(4, 28, year=2028), True)
    assert gap.facts(NOW) == {
        "reason": str(reason),
        "window_start": "2026-11-01T00:00:00+00:00",
        "window_end": "2026-11-03T00:00:00+00:00",
        "window_count": 2,
        "days_left": 514,
        "readable_until": "2028-04-28T00:00:00+00:00",
    }
