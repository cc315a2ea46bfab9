"""New records: what was not seen before, with late records, bounded memory, and no loss at a limit."""

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
from tests.core.paging.paginator_runs import page

QUERY = audit_query("v1", "user")
LOOKBACK = timedelta(minutes=10)
T = 1_795_000_000


def record(second: float, name: str | None = None) -> AuditRecord:
    """Returns a record of an instant, in seconds after T."""
    raw = json.dumps({"action": {"type": "made"}}).encode()
    return AuditRecord(int((T + second) * SECOND_NS), name or f"at-{second}", raw)


def poll(position: WatchPosition, now: float, *records: AuditRecord) -> NewRecords:
    """Polls a log with these records, at a time in seconds after T."""
    current = NewRecordsPoll(QUERY, position, from_seconds(T) + timedelta(seconds=now), LOOKBACK)
    window_reader = current.window_reader()
    if window_reader is not None:
        for each in sorted(records):
            if window_reader.request.window.contains(each.event_ns) and not current.is_enough:
                current.add([each])
    return current.new_records()


def names(new_records: NewRecords) -> list[str]:
    """Returns the ids of the new records."""
    return [each.id for each in new_records.records]


def test_poll_reads_from_the_floor_to_now() -> None:
    """The window is half-open and read oldest first; a position ahead of the clock reads nothing."""
    now = datetime(2026, 11, 2, 12, tzinfo=UTC)
    window_reader = NewRecordsPoll(QUERY, WatchPosition.at(now - LOOKBACK), now, LOOKBACK).window_reader()
    assert window_reader is not None
    assert (window_reader.request.window, window_reader.request.direction) == (
        TimeWindow(now - LOOKBACK, now),
        Direction.ASC,
    )
    assert NewRecordsPoll(QUERY, WatchPosition.at(now), now, LOOKBACK).window_reader() is None
    assert NewRecordsPoll(QUERY, WatchPosition.at(now), now, LOOKBACK).new_records().records == []


@pytest.mark.parametrize(
    ("behind", "takes_one_request"), [(LOOKBACK, True), (2 * LOOKBACK, True), (24 * LOOKBACK, False)]
)
def test_empty_poll_takes_one_request_if_the_previous_poll_read_the_same(
    behind: timedelta, takes_one_request: bool
) -> None:
    """An empty first page ends a poll, unless the position would move past records that no poll has requested."""
    now = datetime(2026, 11, 2, 12, tzinfo=UTC)
    window_reader = NewRecordsPoll(QUERY, WatchPosition.at(now - behind), now, LOOKBACK).window_reader()
    assert window_reader is not None
    assert window_reader.receive(page()) == []
    assert (window_reader.next_request() is None) is takes_one_request


def test_a_record_is_new_once() -> None:
    """A reported record is not reported again, within the lookback or after it."""
    first = poll(WatchPosition(T), 60, record(1))
    again = poll(first.position, 120, record(1))
    later = poll(again.position, 3600, record(1))
    assert [names(each) for each in (first, again, later)] == [["at-1"], [], []]


def test_a_late_record_is_new() -> None:
    """A record that arrives after its neighbours is found within the lookback."""
    first = poll(WatchPosition(T), 60, record(30))
    late = poll(first.position, 600, record(2), record(30))
    assert names(late) == ["at-2"]


def test_record_later_than_the_lookback_is_not_reported() -> None:
    """A record exactly at the lookback is reported, an older one is not."""
    position = poll(WatchPosition(T), 1000).position
    assert position.floor_second == T + 400
    assert names(poll(position, 1001, record(400), record(399.9))) == ["at-400"]


def test_the_floor_never_falls() -> None:
    """A position that starts now does not read anything before it."""
    assert poll(WatchPosition(T), 60).position.floor_second == T


@pytest.mark.integration
def test_many_records_shorten_the_lookback() -> None:
    """If more records than can be remembered are new, the floor rises to the oldest remembered one."""
    records = [record(second / 10, f"r{second}") for second in range(5000)]
    first = poll(WatchPosition(T), 510, *records)
    assert len(first.records) == 5000
    assert T + 290 <= first.position.floor_second <= T + 300
    assert 2000 <= len(first.position.seen) <= 2010
    assert names(poll(first.position, 520, *records, record(515))) == ["at-515"]
    assert len(json.dumps(first.position.to_state())) < 65_535


@pytest.mark.integration
def test_ids_of_one_second_are_remembered_completely() -> None:
    """The records of one second are remembered together, even beyond the limit."""
    records = [record(7, f"r{number}") for number in range(3000)]
    first = poll(WatchPosition(T), 60, *records)
    assert names(poll(first.position, 61, *records)) == []


def test_poll_beyond_the_limit_continues_with_the_next_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """A poll that reaches its limit states that more follows, and the next polls report the rest once each."""
    monkeypatch.setattr(module, "_MAX_NEW_RECORDS", 10)
    monkeypatch.setattr(module, "_MAX_SEEN_IDS", 4)
    log = [record(second) for second in range(35)]
    position = WatchPosition(T)
    payload: list[str] = []
    complete: list[bool] = []
    for _ in range(6):
        step = poll(position, 60, *log)
        position, payload, complete = step.position, payload + names(step), [*complete, step.is_complete]
    assert payload == [each.id for each in log]
    assert complete == [False, False, False, True, True, True]


def test_limited_poll_keeps_ids_after_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids seen earlier after the place where a poll stops are kept."""
    first = poll(WatchPosition(T), 60, record(50))
    monkeypatch.setattr(module, "_MAX_NEW_RECORDS", 2)
    late = [record(second) for second in (1, 2, 3)]
    second = poll(first.position, 61, *late, record(50))
    third = poll(second.position, 62, *late, record(50))
    assert (names(second), names(third)) == (["at-1", "at-2"], ["at-3"])


@pytest.mark.integration
@given(st.lists(st.tuples(st.integers(0, 590), st.integers(0, 9)), max_size=30))
def test_each_record_is_reported_once(arrivals: list[tuple[int, int]]) -> None:
    """Records that arrive within the lookback of their event time are each reported exactly once."""
    log = {f"r{number}": (record(event, f"r{number}"), seen_at) for number, (event, seen_at) in enumerate(arrivals)}
    position = WatchPosition(T)
    payload: list[str] = []
    for step in range(10):
        there = [each for each, seen_at in log.values() if seen_at <= step]
        found = poll(position, 591 + step, *there)
        position, payload = found.position, payload + names(found)
    assert sorted(payload) == sorted(log)


def test_position_is_read_back_from_json() -> None:
    """A position stored as JSON is read back equal; anything else is no position."""
    position = poll(WatchPosition(T), 60, record(1), record(2)).position
    assert WatchPosition.from_state(json.loads(json.dumps(position.to_state()))) == position
    odds: list[object] = [None, 7, "x", [], {}, {"floor_second": "1", "seen": []}, {"floor_second": 1, "seen": "ab"}]
    for odd in odds:
        assert WatchPosition.from_state(odd) is None


def test_subscriber_of_a_shared_poll_gets_what_it_has_not_seen() -> None:
    """A subscriber with its own position gets from a shared poll the records new to it, and the later floor."""
    shared = poll(WatchPosition(T), 1000, record(400.5), record(900))
    own = poll(WatchPosition(T + 100), 1010, record(900), record(1005)).position
    relative = shared.relative_to(own)
    assert names(relative) == []
    assert relative.position.floor_second == own.floor_second
    assert names(poll(relative.position, 1011, record(900), record(1005))) == []
    older = poll(WatchPosition(T), 60, record(1)).position
    assert names(shared.relative_to(older)) == ["at-400.5", "at-900"]
    assert shared.relative_to(older).position == shared.position


def test_event_is_small_and_equal_for_equal_records() -> None:
    """An event has the window, the count, a digest of all ids and the first twenty records, in less than 8 KB."""
    many = [record(second + 0.5, f"{second:036}") for second in range(3000)]
    payload = event_payload(QUERY, many)
    assert (payload["record_count"], len(payload["records"]), payload["actions"]) == (3000, 20, {"made": 3000})
    window = TimeWindow(datetime.fromisoformat(payload["window_start"]), datetime.fromisoformat(payload["window_end"]))
    assert all(window.contains(each.event_ns) for each in many)
    assert window.length == timedelta(seconds=3000)
    assert payload == event_payload(QUERY, many)
    assert payload["ids_sha256"] != event_payload(QUERY, many[1:])["ids_sha256"]
    assert len(json.dumps(payload)) < 8_000
