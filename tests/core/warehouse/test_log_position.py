"""Where a load may continue in the commit log, and when it has to list all manifests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from airflow_audit_provider.core.archive.object_keys import LogEntry, WindowKeys
from airflow_audit_provider.core.warehouse.log_position import (
    days_to_list,
    is_worth_writing,
    settled,
    touching,
    windows_to_look_at,
)
from airflow_audit_provider.core.warehouse.port import LedgerEntry, LoadPosition, settled_digests
from airflow_audit_provider.core.windows.window import TimeWindow

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
POSITION = LoadPosition(NOW - HOUR, NOW - DAY, 5, frozenset())
DAYS = ["2026-11-16", "2026-11-17", "2026-11-18", "2026-11-20", "2026-11-22"]


def _window(day: float, days: float = 1) -> TimeWindow:
    return TimeWindow(NOW + day * DAY, NOW + (day + days) * DAY)


def _entry(day: int, generation: int = 1, age: timedelta = HOUR) -> LogEntry:
    return LogEntry(NOW - age, _window(day), generation, "a")


def _newest(day: int, generation: int) -> dict[TimeWindow, str]:
    return {_window(day): WindowKeys(_window(day), _window(day).start.date()).manifest(generation)}


def test_days_from_three_days_before_the_last_look_are_listed() -> None:
    """Also days in the future, by a clock that is ahead."""
    assert days_to_list(POSITION, 5, DAYS, NOW) == DAYS[1:]
    assert days_to_list(POSITION, 9, DAYS, NOW) == DAYS[1:]


@pytest.mark.parametrize(
    ("position", "window_count", "days"),
    [
        (POSITION._replace(listed_at=NOW - 7 * DAY), 5, DAYS),
        (POSITION._replace(seen_at=NOW + 2 * HOUR), 5, DAYS),
        (POSITION._replace(seen_at=NOW + 900 * DAY, listed_at=NOW + 900 * DAY), 5, DAYS),
        (POSITION, 4, DAYS),
        (POSITION, 5, DAYS[2:]),
        (POSITION, 5, []),
    ],
    ids=["a week", "ahead", "far ahead", "fewer windows", "young log without a settled entry", "no log"],
)
def test_all_manifests_are_listed(position: LoadPosition, window_count: int, days: list[str]) -> None:
    """If the log may not show every commit."""
    assert days_to_list(position, window_count, days, NOW) is None


def test_young_log_is_followed_if_it_had_a_settled_entry() -> None:
    """Its entries tell then whether it is still the same log, as those of an older log do."""
    followed = POSITION._replace(settled=settled([_entry(-1)], _newest(-1, 1), (), NOW))
    assert days_to_list(followed, 5, DAYS[2:], NOW) == DAYS[2:]
    assert windows_to_look_at(followed, []) is None


def test_windows_without_a_settled_entry_are_looked_at() -> None:
    """An entry that has disappeared makes the log another one."""
    entries = [_entry(-1), _entry(-2, 2), _entry(-2, 2, age=2 * HOUR)]
    known = settled(entries[:2], _newest(-1, 1) | _newest(-2, 2), (), NOW)
    position = POSITION._replace(settled=known)
    assert len(known) == 2
    assert windows_to_look_at(position, entries) == {_window(-2)}
    assert windows_to_look_at(position, entries[:2]) == set()
    assert windows_to_look_at(position, entries[1:]) is None


def test_entry_is_settled_if_its_generation_exists_or_if_it_was() -> None:
    """An entry that is not listed any more is forgotten."""
    entry, old = _entry(-1, 2), _entry(-1, 2, age=4 * DAY)
    assert settled([entry], _newest(-1, 1), (), NOW) == frozenset()
    known = settled([entry, old], _newest(-1, 3), (), NOW)
    assert len(known) == 1
    assert settled([entry, old], {}, known, NOW) == known
    assert settled_digests(POSITION._replace(settled=known).settled_text) == known


def test_ledger_entries_that_overlap_a_window_are_found() -> None:
    """Whatever the lengths of the windows, and however many of them are adjacent."""
    ledger = [
        LedgerEntry(_window(day, days), 1, 1, "", None, 0, "") for day, days in ((-9, 1), (-5, 3), (-2, 1), (1, 9))
    ]
    for windows, expected in (
        ([_window(-5)], [-5]),
        ([_window(-8), _window(-7)], []),
        ([_window(-10), _window(-9), _window(-3)], [-9, -5]),
        ([_window(-20, 40), _window(-19)], [-9, -5, -2, 1]),
        ([_window(9, 1), _window(10)], [1]),
        ([], []),
    ):
        found = [round((entry.window.start - NOW) / DAY) for entry in touching(ledger, windows)]
        assert found == expected


@pytest.mark.parametrize(
    ("changes", "is_worth"),
    [
        ({}, False),
        ({"seen_at": NOW + 11 * HOUR}, False),
        ({"seen_at": NOW + 12 * HOUR}, True),
        ({"seen_at": NOW - 2 * HOUR}, True),
        ({"listed_at": NOW}, True),
        ({"window_count": 4}, True),
        ({"window_count": 6}, False),
        ({"settled": frozenset({"0" * 16})}, True),
    ],
)
def test_position_is_written_only_if_it_helps(changes: dict[str, object], is_worth: bool) -> None:
    """A load with nothing new writes nothing, except twice a day."""
    assert is_worth_writing(POSITION._replace(**changes), POSITION) is is_worth  # type: ignore[arg-type]  # any field
    assert is_worth_writing(POSITION, None)
