"""The plan of a gap states what its backfill fetches, needs and can no longer fetch, from the dataset's own counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow_audit_provider._airflow.coverage_page.backfills import Backfill, backfill_of, basis_of
from airflow_audit_provider._airflow.coverage_page.views import dataset_view
from airflow_audit_provider.core.verification.coverage import Span, SpanState
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.pipelines.overview import Overview, SeenWindow, overview
from tests.pipelines.verify.memory_store import MemoryStore

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
MIDNIGHT = NOW.replace(hour=0)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


def _windows(first_ago: int, count: int, record_count: int = 0, request_count: int = 0) -> list[SeenWindow]:
    """Returns so many days, the first one so many days ago."""
    start = MIDNIGHT - first_ago * DAY
    windows = [TimeWindow(start + number * DAY, start + (number + 1) * DAY) for number in range(count)]
    return [SeenWindow(one, 1, record_count=record_count, request_count=request_count) for one in windows]


def _plan(start: datetime, end: datetime, seen: list[SeenWindow], lost: timedelta = timedelta()) -> Backfill:
    gap = Span(start, end, SpanState.MISSING, is_recounted=False, window_count=0, record_count=0)
    found = backfill_of(gap, basis_of(seen), "landing", NOW, lost)
    assert found is not None
    return found


def test_plan_of_gap_states_windows_requests_and_expiry() -> None:
    """The estimate is the mean of the dataset's own windows, times the number of missing ones."""
    seen = [*_windows(20, 5, record_count=1000, request_count=4), *_windows(12, 5, record_count=2000, request_count=6)]
    found = _plan(MIDNIGHT - 15 * DAY, MIDNIGHT - 12 * DAY, seen)
    assert found.plan == (
        "It fetches 3 windows of 1 day, 3 days in all.",
        "It needs about 15 requests for about 4,500 records, estimated from 10 committed windows of this length.",
        "At Cloudflare's limit of 1,200 requests in 300 seconds that takes 0.1 minutes or more.",
        "The first window can be read until 2028-05-12. None expires within 90 days.",
    )


def test_plan_of_old_gap_states_what_expires_and_what_stays_missing() -> None:
    """What the retention cuts off, and what it takes in the next weeks, is in the plan before it is started."""
    oldest_at = datetime(2025, 6, 2, 12, tzinfo=UTC)
    found = _plan(oldest_at, datetime(2025, 6, 21, tzinfo=UTC), _windows(3, 2), lost=2 * DAY + 6 * HOUR)
    assert found.first == "2025-06-03T00:00:00Z"
    assert "It fetches 18 windows of 1 day, 18 days in all." in found.plan
    assert "It needs about 18 requests for about 0 records" in found.plan[1]
    assert found.plan[3].endswith(
        "These expire soon: 8 windows within 7 days, 18 windows within 30 days, 18 windows within 90 days."
    )
    assert found.plan[4:] == (
        "12 hours at the start of the gap are less than a window and stay missing.",
        "2 days 6 hours right before the gap are beyond the retention and stay missing.",
    )


def test_plan_without_usable_window_has_no_estimate() -> None:
    """Windows whose manifest is damaged, not read or of another dataset are no basis."""
    (window,) = _windows(3, 1)
    seen = [
        SeenWindow(window.window, 1, problem="It is damaged."),
        SeenWindow(window.window, 1, is_read=False),
        SeenWindow(window.window, 1, is_foreign=True, record_count=5, request_count=5),
    ]
    found = _plan(MIDNIGHT - 10 * DAY, MIDNIGHT - 8 * DAY, seen)
    assert found.plan[1] == "The dataset has no window of this length to estimate records and requests from."


def test_plan_in_list_of_gaps_names_what_is_lost_before_it() -> None:
    """A gap across the end of the retention is two rows, and the second one says how much the first one loses."""
    import msgspec

    first = SeenWindow(TimeWindow(datetime(2025, 5, 1, tzinfo=UTC), datetime(2025, 5, 2, tzinfo=UTC)), 1)
    seen: Overview = msgspec.structs.replace(overview(MemoryStore()), windows=(first, *_windows(3, 2)))
    lost, missing = dataset_view(seen, NOW).gaps[:2]
    assert lost.backfill is None
    assert missing.backfill is not None
    assert missing.backfill.plan[-1].endswith("right before the gap are beyond the retention and stay missing.")
