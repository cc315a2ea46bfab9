"""The lines of a task's log that people read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from airflow_audit_provider._airflow.observability.log_lines import (
    activity_line,
    commit_line,
    event_line,
    load_line,
    size_text,
    window_text,
)
from airflow_audit_provider.core.api.read_stats import ReadStats
from airflow_audit_provider.core.archive.manifest import Manifest, Part
from airflow_audit_provider.core.windows.window import TimeWindow, count_of
from airflow_audit_provider.pipelines.load import LoadedWindow, LoadOutcome
from airflow_audit_provider.pipelines.observer import PullOutcome
from tests.core.archive.manifests import manifest

DAY = TimeWindow(datetime(2026, 11, 23, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC))
SUMMARY = {"since": "2026-11-23T00:00:00Z", "record_count": 2, "last_event_at": "2026-11-23T04:00:00Z"}


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 records"), (1, "1 record"), (2, "2 records"), (2229, "2,229 records")]
)
def test_count_has_the_right_plural(number: int, text: str) -> None:
    """Only one is singular."""
    assert count_of(number, "record") == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (274_400, "274 kB"),
        (1_540_000, "1.5 MB"),
        (9_960_000_000, "10.0 GB"),
    ],
)
def test_size_has_few_digits(size: int, text: str) -> None:
    """Sizes are decimal, with a fraction below ten."""
    assert size_text(size) == text


def test_window_of_a_utc_day_is_its_date() -> None:
    """A day is its date; any other window is its bounds, even if it is 24 hours long."""
    hours = timedelta(hours=3)
    assert window_text(DAY) == "2026-11-23"
    shifted = TimeWindow(DAY.start + hours, DAY.end + hours)
    assert window_text(shifted) == "2026-11-23T03:00:00Z to 2026-11-24T03:00:00Z"


def _part(size_bytes: int) -> Part:
    return Part("key", size_bytes, "aa", 1, 7, 9)


def _outcome(committed: bool = True, requests: int = 4, **changes: object) -> PullOutcome:
    one: Manifest = manifest(window=DAY, fetch=ReadStats(request_count=requests), **changes)
    return PullOutcome(one, "key", committed)


def test_first_commit_says_how_much_and_where() -> None:
    """The line has the count first, then size, window, destination, and what reading took."""
    outcome = _outcome(record_count=2229, added_count=2229, parts=(_part(274_400),))
    assert commit_line(outcome, "s3://bucket/audit", 1.23) == (
        "Committed 2,229 records (274 kB, 1 part) for 2026-11-23 to s3://bucket/audit, 4 requests, 1.2 s"
    )


def test_empty_window_is_said_aloud() -> None:
    """A day without records does not look like any other."""
    outcome = _outcome(record_count=0, added_count=0, parts=())
    assert commit_line(outcome, "s3://bucket/audit", 0.4) == (
        "Committed an empty window for 2026-11-23: the API has no records, 4 requests, 0.4 s"
    )


def test_day_on_a_page_of_the_day_before_has_no_request_of_its_own() -> None:
    """With partition_by, the line of a day whose records came with an earlier day says so instead of a zero."""
    outcome = _outcome(requests=0, record_count=2, added_count=2, parts=(_part(300),))
    assert commit_line(outcome, "file:///audit", 0.1) == (
        "Committed 2 records (300 bytes, 1 part) for 2026-11-23 to file:///audit, no request of its own, 0.1 s"
    )


def test_late_records_are_counted_beside_all() -> None:
    """A later generation says what it adds and what the window has now."""
    parts = (_part(2000), _part(100))
    outcome = _outcome(generation=2, previous_sha256="0" * 64, record_count=11, added_count=1, parts=parts)
    assert commit_line(outcome, "file:///audit", 2) == (
        "Committed generation 2 with 1 record for 2026-11-23 to file:///audit: 11 records in all (2.1 kB, 2 parts), "
        "4 requests, 2.0 s"
    )


def test_unchanged_window_says_what_was_committed_before() -> None:
    """A run without news is no commit."""
    line = commit_line(_outcome(committed=False, record_count=1), "file:///audit", 2)
    assert line == "Nothing new for 2026-11-23: file:///audit has its 1 record already, 2.0 s"


@pytest.mark.parametrize(
    ("end", "counts", "line"),
    [
        ("2026-11-24", (2229, 2229), "2026-11-23: 2,229 records"),
        ("2026-11-24", (2229, 1), "2026-11-23: 2,229 records, 1 of them new"),
        ("2026-11-24", (0, 0), "2026-11-23: no records"),
        ("2026-11-25", (1, 0), "2026-11-23T00:00:00Z to 2026-11-25T00:00:00Z: 1 record, 0 of them new"),
    ],
)
def test_event_has_its_window_and_counts(end: str, counts: tuple[int, int], line: str) -> None:
    """The window comes first, then all records and those that the run added."""
    bounds = {"window_start": "2026-11-23T00:00:00+00:00", "window_end": f"{end}T00:00:00+00:00"}
    assert event_line({**bounds, "record_count": counts[0], "added_count": counts[1]}) == line


def test_load_says_what_was_loaded() -> None:
    """The line counts records, windows, and earlier loads."""
    loaded = (LoadedWindow(DAY, 1, 0, 7),)
    assert load_line(LoadOutcome(loaded, 0), "audit") == "Loaded 7 records of 1 window into audit"
    assert load_line(LoadOutcome(loaded, 2), "audit") == (
        "Loaded 7 records of 1 window into audit; 2 windows loaded before"
    )
    assert load_line(LoadOutcome((), 1), "audit") == "Nothing new to load into audit; 1 window loaded before"


def test_poll_says_what_it_found_and_what_it_waits_for() -> None:
    """A sensor that waits says for how many records."""
    found = "Found 2 new records since 2026-11-23T00:00:00Z"
    assert activity_line(SUMMARY, 5) == f"{found}; waiting for 5"
    assert activity_line(SUMMARY, 2) == f"{found}, the newest seen at 2026-11-23T04:00:00Z"
