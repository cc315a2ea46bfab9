"""Activity: enough records at or after the watermark."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pendulum
import pytest

from airflow_audit_provider.core.api.query import Direction, audit_query
from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.core.paging.window_reader import WindowReader
from airflow_audit_provider.core.watch.activity import ActivityCount, ActivityDemand, ActivityPoll
from airflow_audit_provider.core.windows.window import TimeWindow, to_ns
from airflow_audit_provider.exceptions import ConfigurationError
from tests.core.paging.paginator_runs import page

_SINCE_AT = datetime(2026, 11, 1, tzinfo=UTC)
_NOW_AT = datetime(2026, 11, 2, tzinfo=UTC)
_QUERY = audit_query("v1", "user")


def record(seconds: float) -> AuditRecord:
    """Returns a record at an offset from the watermark."""
    return AuditRecord(to_ns(_SINCE_AT + timedelta(seconds=seconds)), str(seconds), b"{}")


def reader_of(now: datetime, since: datetime = _SINCE_AT) -> WindowReader:
    """Returns the first window reader of a poll for one sensor."""
    return next(ActivityPoll(_QUERY, [ActivityDemand(since)], now).window_readers())


def test_activity_is_read_from_the_watermark_to_now() -> None:
    """The window is half-open, starts at the watermark and is read oldest first."""
    now = _SINCE_AT + timedelta(hours=1)
    reader = reader_of(now)
    assert (reader.request.window, reader.request.direction) == (TimeWindow(_SINCE_AT, now), Direction.ASC)


def test_activity_is_delivered_after_every_page() -> None:
    """A poke that needs one record does not read the whole window."""
    reader = reader_of(datetime(2023, 11, 15, tzinfo=UTC), datetime(2023, 11, 14, tzinfo=UTC))
    first = page(*range(1000))
    assert len(reader.receive(first)) == 999


def test_empty_poke_takes_one_request() -> None:
    """An empty first page ends the poke without a proof, because the next poke requests the same range."""
    reader = reader_of(_NOW_AT)
    assert reader.receive(page()) == []
    assert reader.next_request() is None


@pytest.mark.parametrize("lead", [timedelta(0), timedelta(microseconds=-1), timedelta(days=-1)])
def test_watermark_in_the_future_needs_no_request(lead: timedelta) -> None:
    """Before the watermark has passed no request is sent."""
    assert list(ActivityPoll(_QUERY, [ActivityDemand(_SINCE_AT)], _SINCE_AT + lead).window_readers()) == []


def test_invalid_demand_is_an_error() -> None:
    """The minimum is at least one record, and the watermark has a time zone."""
    with pytest.raises(ConfigurationError, match="whole number of at least 1"):
        ActivityDemand(_SINCE_AT, 0)
    with pytest.raises(ConfigurationError, match="has no time zone"):
        ActivityDemand(_SINCE_AT.replace(tzinfo=None))


def test_second_sensor_with_the_same_watermark_needs_no_reader() -> None:
    """One span of time is read once for both; reading stops when both have enough."""
    poll = ActivityPoll(_QUERY, [ActivityDemand(_SINCE_AT, 2), ActivityDemand(_SINCE_AT)], _NOW_AT)
    for _ in poll.window_readers():
        poll.add([record(1)])
        assert not poll.is_enough
        poll.add([record(2)])
        assert poll.is_enough
    assert [count.summary()["record_count"] for count in poll.counts] == [2, 1]


def test_reading_continues_at_the_next_watermark_past_the_last_record() -> None:
    """What lies between the last record that an early sensor needs and the watermark of the next one is not read."""
    late = timedelta(hours=5)
    poll = ActivityPoll(_QUERY, [ActivityDemand(_SINCE_AT + late), ActivityDemand(_SINCE_AT)], _NOW_AT)
    found = {_SINCE_AT: [record(1)], _SINCE_AT + late: [record(late.total_seconds() + 1)]}
    starts = []
    for reader in poll.window_readers():
        starts.append(reader.request.window.start)
        poll.add(found[starts[-1]])
    assert starts == [_SINCE_AT, _SINCE_AT + late]
    assert [count.summary()["record_count"] for count in poll.counts] == [1, 1]


def test_watermark_inside_a_page_counts_the_records_from_it_on() -> None:
    """A sensor counts a record at its watermark and none before it, and needs no reader of its own."""
    poll = ActivityPoll(_QUERY, [ActivityDemand(_SINCE_AT), ActivityDemand(_SINCE_AT + timedelta(seconds=2))], _NOW_AT)
    readers = []
    for reader in poll.window_readers():
        readers.append(reader)
        poll.add([record(1.5), record(2), record(3)])
    assert len(readers) == 1
    assert [count.summary()["record_count"] for count in poll.counts] == [3, 2]


def test_poll_ends_where_the_log_ends() -> None:
    """A reader that ends before a sensor has enough is the last one: nothing more is there."""
    poll = ActivityPoll(_QUERY, [ActivityDemand(_SINCE_AT, 5), ActivityDemand(_SINCE_AT + timedelta(1 / 2))], _NOW_AT)
    readers = []
    for reader in poll.window_readers():
        readers.append(reader)
        poll.add([record(1)])
    assert len(readers) == 1
    assert not any(count.is_enough for count in poll.counts)


def test_watermark_of_pendulum_counts_as_any_other() -> None:
    """Airflow's own times are pendulum's, in any time zone."""
    since = pendulum.instance(_SINCE_AT).in_timezone("Europe/Berlin")
    poll = ActivityPoll(_QUERY, [ActivityDemand(since)], _NOW_AT)
    for _ in poll.window_readers():
        poll.add([record(-1), record(1)])
    assert [count.summary()["record_count"] for count in poll.counts] == [1]


def test_no_record_is_not_enough() -> None:
    """Without a record the summary has no times."""
    activity = ActivityCount(ActivityDemand(_SINCE_AT))
    activity.add([])
    assert not activity.is_enough
    assert activity.summary() == {
        "since": "2026-11-01T00:00:00Z",
        "record_count": 0,
        "first_event_at": None,
        "last_event_at": None,
    }


def test_records_add_up_over_pages() -> None:
    """The count grows to the minimum, the first time stays, the last one moves."""
    activity = ActivityCount(ActivityDemand(_SINCE_AT, 3))
    activity.add([record(1.5), record(2)])
    steps = [activity.is_enough]
    for found in ([], [record(7.9)]):
        activity.add(found)
        steps.append(activity.is_enough)
    assert steps == [False, False, True]
    summary = activity.summary()
    assert (summary["record_count"], summary["first_event_at"], summary["last_event_at"]) == (
        3, "2026-11-01T00:00:01Z", "2026-11-01T00:00:07Z"
    )  # fmt: skip
