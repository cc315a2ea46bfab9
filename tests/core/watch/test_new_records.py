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
from airflow_audit_provider.core.watch.new_records import NewRecords, NewRecordsPoll, WatchPosition, event_payload
from airflow_audit_provider.core.windows.window import SECOND_NS, TimeWindow, from_seconds

QUERY = audit_query("v1", "user")
LOOKBACK = timedelta(minutes=10)
T = 1_795_000_000


def record(second: float, name: str | None = None) -> AuditRecord:
    """Return a record of an instant, in seconds after T."""
    raw = json.dumps({"action": {"type": "made"}}).encode()
    return AuditRecord(int((T + second) * SECOND_NS), name or f"at-{second}", raw)


def poll(position: WatchPosition, now: float, *records: AuditRecord) -> NewRecords:
    """Look at a log that holds these records, at a time in seconds after T."""
    current = NewRecordsPoll(QUERY, position, from_seconds(T) + timedelta(seconds=now), LOOKBACK)
    window_reader = current.window_reader()
    if window_reader is not None:
        for each in sorted(records):
            if window_reader.request.window.contains(each.event_ns) and not current.is_enough:
                current.add([each])
    return current.new_records()


def names(new_records: NewRecords) -> list[str]:
    """Return the ids of what was new."""
    return [each.id for each in new_records.records]


def test_a_look_reads_from_the_floor_to_now() -> None:
    """The window is half-open, oldest first; while the position is ahead of the clock there is nothing to read."""
    now = datetime(2026, 11, 2, 12, tzinfo=UTC)
    window_reader = NewRecordsPoll(QUERY, WatchPosition.at(now - LOOKBACK), now, LOOKBACK).window_reader()
    assert window_reader is not None
    assert (window_reader.request.window, window_reader.request.direction) == (
        TimeWindow(now - LOOKBACK, now),
        Direction.ASC,
    )
    assert NewRecordsPoll(QUERY, WatchPosition.at(now), now, LOOKBACK).window_reader() is None
    assert NewRecordsPoll(QUERY, WatchPosition.at(now), now, LOOKBACK).new_records().records == []


def test_a_record_is_new_once() -> None:
    """A record that is reported is not reported again while it is looked back on, nor after."""
    first = poll(WatchPosition(T), 60, record(1))
    again = poll(first.position, 120, record(1))
    later = poll(again.position, 3600, record(1))
    assert [names(each) for each in (first, again, later)] == [["at-1"], [], []]


def test_a_late_record_is_new() -> None:
    """A record that comes after its neighbours are read is found within the lookback."""
    first = poll(WatchPosition(T), 60, record(30))
    late = poll(first.position, 600, record(2), record(30))
    assert names(late) == ["at-2"]


def test_a_record_later_than_the_lookback_is_not_told() -> None:
    """The lookback is the bound, and a record at it still counts."""
    position = poll(WatchPosition(T), 1000).position
    assert position.floor_second == T + 400
    assert names(poll(position, 1001, record(400), record(399.9))) == ["at-400"]


def test_the_floor_never_falls() -> None:
    """A position that begins now does not look at what lies before it."""
    assert poll(WatchPosition(T), 60).position.floor_second == T


def test_a_crowd_shortens_the_lookback() -> None:
    """With more records than are remembered the floor rises to the oldest remembered, and nothing is reported twice."""
    records = [record(second / 10, f"r{second}") for second in range(5000)]
    first = poll(WatchPosition(T), 510, *records)
    assert len(first.records) == 5000
    assert T + 290 <= first.position.floor_second <= T + 300
    assert 2000 <= len(first.position.seen) <= 2010
    assert names(poll(first.position, 520, *records, record(515))) == ["at-515"]
    assert len(json.dumps(first.position.to_state())) < 65_535


def test_an_instant_full_of_records_is_remembered_whole() -> None:
    """Records of one second are never cut apart, even more than are remembered otherwise."""
    records = [record(7, f"r{number}") for number in range(3000)]
    first = poll(WatchPosition(T), 60, *records)
    assert names(poll(first.position, 61, *records)) == []


def test_a_long_way_is_gone_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that has found enough breaks off, says so, and the next ones bring the rest, each once."""
    monkeypatch.setattr(module, "_MAX_NEW_RECORDS", 10)
    monkeypatch.setattr(module, "_MAX_SEEN_IDS", 4)
    log = [record(second) for second in range(35)]
    position = WatchPosition(T)
    reported: list[str] = []
    complete: list[bool] = []
    for _ in range(6):
        step = poll(position, 60, *log)
        position, reported, complete = step.position, reported + names(step), [*complete, step.is_complete]
    assert reported == [each.id for each in log]
    assert complete == [False, False, False, True, True, True]


def test_a_break_forgets_nothing_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records seen earlier of the time behind the break are not reported again."""
    first = poll(WatchPosition(T), 60, record(50))
    monkeypatch.setattr(module, "_MAX_NEW_RECORDS", 2)
    late = [record(second) for second in (1, 2, 3)]
    second = poll(first.position, 61, *late, record(50))
    third = poll(second.position, 62, *late, record(50))
    assert (names(second), names(third)) == (["at-1", "at-2"], ["at-3"])


@given(st.lists(st.tuples(st.integers(0, 590), st.integers(0, 9)), max_size=30))
def test_whatever_comes_when_is_told_once(arrivals: list[tuple[int, int]]) -> None:
    """Records that come within the lookback of their event time are each reported exactly once, in whatever order."""
    log = {f"r{number}": (record(event, f"r{number}"), seen_at) for number, (event, seen_at) in enumerate(arrivals)}
    position = WatchPosition(T)
    reported: list[str] = []
    for step in range(10):
        there = [each for each, seen_at in log.values() if seen_at <= step]
        found = poll(position, 591 + step, *there)
        position, reported = found.position, reported + names(found)
    assert sorted(reported) == sorted(log)


def test_a_mark_survives_its_journey() -> None:
    """What is kept as JSON comes back the same; anything else is no position."""
    position = poll(WatchPosition(T), 60, record(1), record(2)).position
    assert WatchPosition.from_state(json.loads(json.dumps(position.to_state()))) == position
    odds: list[object] = [None, 7, "x", [], {}, {"floor_second": "1", "seen": []}, {"floor_second": 1, "seen": "ab"}]
    for odd in odds:
        assert WatchPosition.from_state(odd) is None


def test_who_reads_beside_others_is_told_what_he_has_not_seen() -> None:
    """Somebody with a position of own own takes from a shared look what is new to him, and the later floor."""
    shared = poll(WatchPosition(T), 1000, record(400.5), record(900))
    own = poll(WatchPosition(T + 100), 1010, record(900), record(1005)).position
    relative = shared.relative_to(own)
    assert names(relative) == []
    assert relative.position.floor_second == own.floor_second
    assert names(poll(relative.position, 1011, record(900), record(1005))) == []
    older = poll(WatchPosition(T), 60, record(1)).position
    assert names(shared.relative_to(older)) == ["at-400.5", "at-900"]
    assert shared.relative_to(older).position == shared.position


def test_an_event_is_small_and_the_same_for_the_same_records() -> None:
    """An event names the window, the count, a digest of all ids, and the first twenty records; it stays below 8 KB."""
    many = [record(second + 0.5, f"{second:036}") for second in range(3000)]
    reported = event_payload(QUERY, many)
    assert (reported["record_count"], len(reported["records"]), reported["actions"]) == (3000, 20, {"made": 3000})
    window = TimeWindow(
        datetime.fromisoformat(reported["window_start"]), datetime.fromisoformat(reported["window_end"])
    )
    assert all(window.contains(each.event_ns) for each in many)
    assert window.length == timedelta(seconds=3000)
    assert reported == event_payload(QUERY, many)
    assert reported["ids_sha256"] != event_payload(QUERY, many[1:])["ids_sha256"]
    assert len(json.dumps(reported)) < 8_000
