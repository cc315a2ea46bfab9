"""Whether a window may be read now, and whether an earlier commit belongs to the same dataset."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from airflow_audit_provider.core.planning import (
    refuse_other_dataset,
    refuse_other_format,
    refuse_unreadable_window,
    retention_starts_at,
    whole_windows_start_at,
)
from airflow_audit_provider.core.query import audit_query
from airflow_audit_provider.core.window import TimeWindow
from airflow_audit_provider.exceptions import (
    CommitConflictError,
    ConfigurationError,
    RetentionExceededError,
    WindowNotSettledError,
)
from tests.core.test_manifest import manifest

_DAY = TimeWindow(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC))
_SETTLE = timedelta(minutes=10)
_MICROSECOND = timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("now", "oldest"),
    [
        (datetime(2026, 11, 23, 12, tzinfo=UTC), datetime(2025, 5, 23, 12, tzinfo=UTC)),
        (datetime(2026, 8, 31, tzinfo=UTC), datetime(2025, 2, 28, tzinfo=UTC)),
    ],
)
def test_eighteen_calendar_months_are_kept(now: datetime, oldest: datetime) -> None:
    """The oldest instant is the same day and time eighteen months ago, or that month's last day."""
    assert retention_starts_at(now) == oldest
    assert whole_windows_start_at(now) == oldest + timedelta(days=3)


def test_a_window_may_be_read_from_its_settling_on() -> None:
    """At its end plus the delay a window may be read, a microsecond before it may not."""
    settled_at = _DAY.end + _SETTLE
    refuse_unreadable_window(_DAY, settled_at, _SETTLE)
    with pytest.raises(WindowNotSettledError, match="2026-11-02T00:10:00Z") as caught:
        refuse_unreadable_window(_DAY, settled_at - _MICROSECOND, _SETTLE)
    assert caught.value.settled_at == settled_at
    assert caught.value.retry_after == pytest.approx(1e-6)


def test_a_window_without_delay_may_be_read_at_its_end() -> None:
    """A settle delay of nothing is allowed, a negative one is not."""
    refuse_unreadable_window(_DAY, _DAY.end, timedelta(0))
    with pytest.raises(ConfigurationError, match="Give zero or more"):
        refuse_unreadable_window(_DAY, _DAY.end, -_MICROSECOND)


def test_a_window_older_than_the_retention_is_refused() -> None:
    """The start may be three days after the retention's, and no older."""
    now = datetime(2028, 4, 29, tzinfo=UTC)
    refuse_unreadable_window(_DAY, now, _SETTLE)
    with pytest.raises(RetentionExceededError, match="18 months"):
        refuse_unreadable_window(_DAY, now + _MICROSECOND, _SETTLE)


def test_the_same_dataset_and_format_may_go_on() -> None:
    """A commit of the same query in the same format is no conflict."""
    committed = manifest()
    refuse_other_dataset(committed, committed.query, "k")
    refuse_other_format(committed, "jsonl", "gzip", "k")


def test_another_dataset_at_the_same_place_is_a_conflict() -> None:
    """Another filter on the same destination is refused and names the manifest."""
    with pytest.raises(CommitConflictError, match="a destination of its own") as caught:
        refuse_other_dataset(manifest(), audit_query("v2", None, organization_id="o"), "the-key")
    assert caught.value.key == "the-key"


@pytest.mark.parametrize(("file_format", "compression"), [("csv", "gzip"), ("jsonl", "zstd")])
def test_late_records_in_another_format_are_a_conflict(file_format: str, compression: str) -> None:
    """One window is not written half in one format and half in another."""
    with pytest.raises(CommitConflictError, match="replace=True") as caught:
        refuse_other_format(manifest(), file_format, compression, "the-key")
    assert caught.value.key == "the-key"
