"""Activity: enough records at or after the watermark."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from airflow_audit_provider.core.api.query import Direction, audit_query
from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.core.watch.activity import ActivityCount, ActivityQuery
from airflow_audit_provider.core.windows.window import TimeWindow, to_ns
from airflow_audit_provider.exceptions import ConfigurationError
from tests.core.paging.paginator_runs import page

_SINCE_AT = datetime(2026, 11, 1, tzinfo=UTC)
_NOW_AT = datetime(2026, 11, 2, tzinfo=UTC)
_QUERY = audit_query("v1", "user")


def record(seconds: float) -> AuditRecord:
    """Returns a record at an offset from the watermark."""
    return AuditRecord(to_ns(_SINCE_AT + timedelta(seconds=seconds)), str(seconds), b"{}")


def test_activity_is_read_from_the_watermark_to_now() -> None:
    """The window is half-open, starts at the watermark and is read oldest first."""
    now = _SINCE_AT + timedelta(hours=1)
    reader = ActivityCount(ActivityQuery(_QUERY, _SINCE_AT), now).window_reader()
    assert reader is not None
    assert (reader.request.window, reader.request.direction) == (TimeWindow(_SINCE_AT, now), Direction.ASC)


def test_activity_is_delivered_after_every_page() -> None:
    """A poke that needs one record does not read the whole window."""
    since, now = datetime(2023, 11, 14, tzinfo=UTC), datetime(2023, 11, 15, tzinfo=UTC)
    reader = ActivityCount(ActivityQuery(_QUERY, since), now).window_reader()
    assert reader is not None
    first = page(*range(1000))
    assert len(reader.receive(first)) == 999


def test_empty_poke_takes_one_request() -> None:
    """An empty first page ends the poke without a proof, because the next poke requests the same range."""
    reader = ActivityCount(ActivityQuery(_QUERY, _SINCE_AT), _NOW_AT).window_reader()
    assert reader is not None
    assert reader.receive(page()) == []
    assert reader.next_request() is None


@pytest.mark.parametrize("lead", [timedelta(0), timedelta(microseconds=-1), timedelta(days=-1)])
def test_watermark_in_the_future_needs_no_request(lead: timedelta) -> None:
    """Before the watermark has passed no request is sent."""
    assert ActivityCount(ActivityQuery(_QUERY, _SINCE_AT), _SINCE_AT + lead).window_reader() is None


def test_invalid_activity_query_is_an_error() -> None:
    """The minimum is at least one record, and the watermark has a time zone."""
    with pytest.raises(ConfigurationError, match="whole number of at least 1"):
        ActivityQuery(_QUERY, _SINCE_AT, 0)
    with pytest.raises(ConfigurationError, match="has no time zone"):
        ActivityQuery(_QUERY, _SINCE_AT.replace(tzinfo=None))


def test_no_record_is_not_enough() -> None:
    """Without a record the summary has no times."""
    activity = ActivityCount(ActivityQuery(_QUERY, _SINCE_AT), _NOW_AT)
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
    activity = ActivityCount(ActivityQuery(_QUERY, _SINCE_AT, 3), _NOW_AT)
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
