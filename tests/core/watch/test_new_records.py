"""News: what was not seen before, with late records, bounded memory, and nothing lost at a break."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_audit_provider.core.api.query import Direction, audit_query
from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.core.watch import new_records as module
from airflow_audit_provider.core.watch.new_records import NewRecords, Poll, WatchPosition, event_payload
from airflow_audit_provider.core.windows.window import SECOND_NS, TimeWindow, from_seconds

QUERY = audit_query("v1", "user")
LOOKBACK = timedelta(minutes=10)
T = 1_795_000_000


def record(second: float, name: str | None = None) -> AuditRecord:
    """Return a record of an instant, in seconds after T."""
    raw = json.dumps({"action": {"type": "made"}}).encode()
    return AuditRecord(int((T + second) * SECOND_NS), name or f"at-{second}", raw)


def look(mark: WatchPosition, now: float, *records: AuditRecord) -> NewRecords:
    """Look at a log that holds these records, at a time in seconds after T."""
    sight = Poll(QUERY, mark, from_seconds(T) + timedelta(seconds=now), LOOKBACK)
    reading = sight.reading()
    if reading is not None:
        for each in sorted(records):
            if reading.request.window.contains(each.event_ns) and not sight.has_enough:
                sight.add([each])
    return sight.new_records()


def names(news: NewRecords) -> list[str]:
    """Return the ids of what was new."""
    return [each.id for each in news.records]


def test_a_look_reads_from_the_floor_to_now() -> None:
    """The window is half-open, oldest first; while the mark is ahead of the clock there is nothing to read."""
    now = datetime(2026, 11, 2, 12, tzinfo=UTC)
    reading = Poll(QUERY, WatchPosition.at(now - LOOKBACK), now, LOOKBACK).reading()
    assert reading is not None
    assert (reading.request.window, reading.request.direction) == (TimeWindow(now - LOOKBACK, now), Direction.ASC)
    assert Poll(QUERY, WatchPosition.at(now), now, LOOKBACK).reading() is None
    assert Poll(QUERY, WatchPosition.at(now), now, LOOKBACK).new_records().records == []


def test_a_record_is_new_once() -> None:
    """A record that is told is not told again while it is looked back on, nor after."""
    first = look(WatchPosition(T), 60, record(1))
    again = look(first.mark, 120, record(1))
    later = look(again.mark, 3600, record(1))
    assert [names(each) for each in (first, again, later)] == [["at-1"], [], []]


def test_a_late_record_is_new() -> None:
    """A record that comes after its neighbours are read is found within the lookback."""
    first = look(WatchPosition(T), 60, record(30))
    late = look(first.mark, 600, record(2), record(30))
    assert names(late) == ["at-2"]


def test_a_record_later_than_the_lookback_is_not_told() -> None:
    """The lookback is the bound, and a record at it still counts."""
    mark = look(WatchPosition(T), 1000).mark
    assert mark.floor_second == T + 400
    assert names(look(mark, 1001, record(400), record(399.9))) == ["at-400"]


def test_the_floor_never_falls() -> None:
    """A mark that begins now does not look at what lies before it."""
    assert look(WatchPosition(T), 60).mark.floor_second == T


def test_a_crowd_shortens_the_lookback() -> None:
    """With more records than are remembered the floor rises to the oldest remembered, and nothing is told twice."""
    crowd = [record(second / 10, f"r{second}") for second in range(5000)]
    first = look(WatchPosition(T), 510, *crowd)
    assert len(first.records) == 5000
    assert T + 290 <= first.mark.floor_second <= T + 300
    assert 2000 <= len(first.mark.seen) <= 2010
    assert names(look(first.mark, 520, *crowd, record(515))) == ["at-515"]
    assert len(json.dumps(first.mark.to_state())) < 65_535


def test_an_instant_full_of_records_is_remembered_whole() -> None:
    """Records of one second are never cut apart, even more than are remembered otherwise."""
    crowd = [record(7, f"r{number}") for number in range(3000)]
    first = look(WatchPosition(T), 60, *crowd)
    assert names(look(first.mark, 61, *crowd)) == []


def test_a_long_way_is_gone_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that has found enough breaks off, says so, and the next ones bring the rest, each once."""
    monkeypatch.setattr(module, "_ENOUGH_AT_ONCE", 10)
    monkeypatch.setattr(module, "_MOST_REMEMBERED", 4)
    log = [record(second) for second in range(35)]
    mark = WatchPosition(T)
    told: list[str] = []
    complete: list[bool] = []
    for _ in range(6):
        step = look(mark, 60, *log)
        mark, told, complete = step.mark, told + names(step), [*complete, step.is_complete]
    assert told == [each.id for each in log]
    assert complete == [False, False, False, True, True, True]


def test_a_break_forgets_nothing_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records seen earlier of the time behind the break are not told again."""
    first = look(WatchPosition(T), 60, record(50))
    monkeypatch.setattr(module, "_ENOUGH_AT_ONCE", 2)
    late = [record(second) for second in (1, 2, 3)]
    second = look(first.mark, 61, *late, record(50))
    third = look(second.mark, 62, *late, record(50))
    assert (names(second), names(third)) == (["at-1", "at-2"], ["at-3"])


@given(st.lists(st.tuples(st.integers(0, 590), st.integers(0, 9)), max_size=30))
def test_whatever_comes_when_is_told_once(arrivals: list[tuple[int, int]]) -> None:
    """Records that come within the lookback of their event time are each told exactly once, in whatever order."""
    log = {f"r{number}": (record(event, f"r{number}"), seen_at) for number, (event, seen_at) in enumerate(arrivals)}
    mark = WatchPosition(T)
    told: list[str] = []
    for step in range(10):
        there = [each for each, seen_at in log.values() if seen_at <= step]
        found = look(mark, 591 + step, *there)
        mark, told = found.mark, told + names(found)
    assert sorted(told) == sorted(log)


def test_a_mark_survives_its_journey() -> None:
    """What is kept as JSON comes back the same; anything else is no mark."""
    mark = look(WatchPosition(T), 60, record(1), record(2)).mark
    assert WatchPosition.from_state(json.loads(json.dumps(mark.to_state()))) == mark
    odds: list[object] = [None, 7, "x", [], {}, {"floor_second": "1", "seen": []}, {"floor_second": 1, "seen": "ab"}]
    for odd in odds:
        assert WatchPosition.from_state(odd) is None


def test_who_reads_beside_others_is_told_what_he_has_not_seen() -> None:
    """Somebody with a mark of his own takes from a shared look what is new to him, and the later floor."""
    shared = look(WatchPosition(T), 1000, record(400.5), record(900))
    his = look(WatchPosition(T + 100), 1010, record(900), record(1005)).mark
    beside = shared.relative_to(his)
    assert names(beside) == []
    assert beside.mark.floor_second == his.floor_second
    assert names(look(beside.mark, 1011, record(900), record(1005))) == []
    older = look(WatchPosition(T), 60, record(1)).mark
    assert names(shared.relative_to(older)) == ["at-400.5", "at-900"]
    assert shared.relative_to(older).mark == shared.mark


def test_an_event_is_small_and_the_same_for_the_same_records() -> None:
    """An event names the window, the count, a digest of all ids, and the first twenty records; it stays below 8 KB."""
    many = [record(second + 0.5, f"{second:036}") for second in range(3000)]
    told = event_payload(QUERY, many)
    assert (told["record_count"], len(told["records"]), told["actions"]) == (3000, 20, {"made": 3000})
    window = TimeWindow(datetime.fromisoformat(told["window_start"]), datetime.fromisoformat(told["window_end"]))
    assert all(window.contains(each.event_ns) for each in many)
    assert window.length == timedelta(seconds=3000)
    assert told == event_payload(QUERY, many)
    assert told["ids_sha256"] != event_payload(QUERY, many[1:])["ids_sha256"]
    assert len(json.dumps(told)) < 8_000
