"""A plan states what is committed, missing, expiring and lost, sends few requests and writes nothing."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airflow_audit_provider.adapters.storage.local_store import LocalStore
from airflow_audit_provider.core.api.query import audit_query
from airflow_audit_provider.core.limits import EDGES, RECOUNT
from airflow_audit_provider.core.windows.partitions import divide
from airflow_audit_provider.core.windows.run_window import RunBounds, resolve_run_window
from airflow_audit_provider.exceptions import CommitConflictError, ConfigurationError
from airflow_audit_provider.pipelines.observer import NullObserver
from airflow_audit_provider.pipelines.plan import PlanRequest, held_query, plan_backfill
from airflow_audit_provider.pipelines.plan_report import SUMMARY_SPANS, Plan, WindowState
from airflow_audit_provider.pipelines.pull_range import RangeSpec, pull_range
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.settings import ACCOUNT_ID
from tests.pipelines.pull.landing import fake_with, land, objects, pull_spec, reader_of

pytestmark = pytest.mark.integration

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
DAY = timedelta(days=1)
TODAY = NOW.replace(hour=0)
QUERY = audit_query("v1", None, account_id=ACCOUNT_ID)
# 18 months before NOW, and three days more: the first midnight from which a window may start.
OLDEST = datetime(2025, 5, 6, tzinfo=UTC)


class Place:
    """A fake, a clock and an empty destination."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.clock = ManualClock(NOW)
        self.fake = fake_with(self.clock, **{"records_per_day": 200, **settings})
        self.store = LocalStore(str(folder))

    def plan(self, start: datetime | None = None, end: datetime | None = None, **changes: Any) -> Plan:
        """Returns the plan of a range."""
        request = PlanRequest(QUERY, start, end)._replace(**changes)
        return plan_backfill(self.store, reader_of(self.fake, self.clock), request)

    def pull(self, start: datetime, length: timedelta = DAY, **changes: Any) -> None:
        """Commits a window."""
        spec = pull_spec(start=start, end=start + length, attempt_id=f"{start:%d%H}", **changes)
        land(spec, reader_of(self.fake, self.clock), self.store)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """An empty destination."""
    return Place(tmp_path / "audit")


def counts(plan: Plan) -> dict[str, int]:
    """Returns the states that windows have."""
    return {state: count for state, count in plan.windows.items() if count}


def test_plan_without_bounds_is_of_all_that_can_be_read(place: Place) -> None:
    """Without bounds, the plan begins with the oldest whole day and ends with the last settled one."""
    plan = place.plan()
    assert (plan.start, plan.end) == (OLDEST, TODAY)
    assert counts(plan) == {"missing": (TODAY - OLDEST).days}
    assert not plan.is_obstructed


def test_range_beyond_retention_is_lost_for_good(place: Place) -> None:
    """Days that the API no longer keeps whole are counted as lost, and the text says that it is for good."""
    plan = place.plan(OLDEST - 40 * DAY, OLDEST + 5 * DAY)
    assert counts(plan) == {"lost": 40, "missing": 5}
    assert [(one.state, one.window_count) for one in plan.spans] == [("lost", 40), ("missing", 5)]
    assert plan.is_obstructed
    assert "40 windows are lost for good" in plan.text()


def test_range_that_is_wholly_lost_sends_no_request(place: Place) -> None:
    """A range of which nothing can be read needs no request, neither for the plan nor for a backfill."""
    plan = place.plan(OLDEST - 40 * DAY, OLDEST - 10 * DAY)
    assert counts(plan) == {"lost": 30}
    assert (plan.need.request_count, plan.commands, plan.forms, place.fake.requests) == (0, (), (), [])


def test_days_that_expire_soon_are_counted(place: Place) -> None:
    """Of the missing days, the plan counts those that can no longer be read in 7, 30 and 90 days."""
    place.pull(OLDEST)
    place.pull(OLDEST + DAY)
    plan = place.plan(OLDEST, OLDEST + 15 * DAY)
    assert counts(plan) == {"committed": 2, "missing": 13}
    assert [(one.within_days, one.window_count) for one in plan.expiries] == [(7, 5), (30, 13), (90, 13)]
    assert "13 windows expire within 30 days" in plan.text()
    assert plan.first_expires_at is not None
    assert timedelta(0) < plan.first_expires_at - NOW <= 3 * DAY


def test_expiry_is_when_a_pull_is_refused(place: Place) -> None:
    """A window is still missing a moment before the stated expiry, and lost three days after it."""
    expires_at = place.plan(OLDEST, OLDEST + DAY).first_expires_at
    assert expires_at is not None
    for moment, state in ((expires_at - timedelta(minutes=1), "missing"), (expires_at + 3 * DAY, "lost")):
        place.clock = ManualClock(moment)
        assert counts(place.plan(OLDEST, OLDEST + DAY)) == {state: 1}


def test_committed_windows_need_nothing(place: Place) -> None:
    """A gap of one day between committed days is the only need, and has a command of its own."""
    for number in (0, 1, 3):
        place.pull(TODAY - (4 - number) * DAY)
    place.fake.requests.clear()
    plan = place.plan(TODAY - 4 * DAY, TODAY)
    assert counts(plan) == {"committed": 3, "missing": 1}
    assert plan.need.request_count in (1, 2)
    assert [command.split()[6:9:2] for command in plan.commands] == [["2026-10-31", "2026-10-31"]]


def test_window_that_is_not_over_is_pending(place: Place) -> None:
    """Today and what follows it are pending, and so is a day within its settle delay."""
    assert counts(place.plan(TODAY - DAY, TODAY + 2 * DAY)) == {"missing": 1, "pending": 2}
    assert counts(place.plan(TODAY - DAY, TODAY, settle_delay=timedelta(hours=13))) == {"pending": 1}


def test_day_with_committed_hours_is_partial(place: Place) -> None:
    """A day of which an hour is committed is not missing, because its pull is refused."""
    place.pull(TODAY - 2 * DAY, timedelta(hours=1))
    plan = place.plan(TODAY - 2 * DAY, TODAY)
    assert counts(plan) == {"missing": 1, "partial": 1}
    assert plan.is_obstructed
    assert counts(place.plan(TODAY - 2 * DAY, TODAY, division="hour")) == {"committed": 1, "missing": 47}


def test_day_with_committed_hours_whose_rest_has_expired_is_lost(place: Place) -> None:
    """A day that is committed in part is lost once the API no longer has the rest of it."""
    day = OLDEST + DAY
    place.pull(day + timedelta(hours=1), timedelta(hours=1))
    assert counts(place.plan(day, day + DAY)) == {"partial": 1}
    place.clock.advance(2 * DAY.total_seconds())
    plan = place.plan(day, day + DAY)
    assert counts(plan) == {"lost": 1}
    assert "1 window is lost for good" in plan.text()
    # The API still has the hours from noon on.
    assert counts(place.plan(day, day + DAY, division="hour")) == {"committed": 1, "lost": 11, "missing": 12}


def test_plan_names_the_one_task_that_lands_what_is_missing(place: Place) -> None:
    """The arguments of one divided run are printed, from the first missing day to the last, unless it is refused."""
    zoned = place.plan(TODAY - 3 * DAY, TODAY, timezone="Asia/Kolkata").text()
    assert ", timezone='Asia/Kolkata'\n" in zoned
    place.pull(TODAY - 3 * DAY)
    start, end = TODAY - 4 * DAY, TODAY - DAY
    line = f"partition_by='day', window_start='{start.isoformat()}', window_end='{end.isoformat()}'"
    assert line in place.plan(start, end).text()
    place.pull(TODAY - 2 * DAY, timedelta(hours=1))
    assert "partition_by" not in place.plan(start - DAY, TODAY).text()
    place.pull(TODAY - DAY)
    assert "partition_by" not in place.plan(TODAY - DAY, TODAY).text()


@pytest.mark.parametrize("partition_by", ["hour", "day", "month"])
@pytest.mark.parametrize("timezone", ["Asia/Kolkata", "America/Havana"])
def test_plan_of_what_a_divided_run_commits_has_its_windows(place: Place, partition_by: str, timezone: str) -> None:
    """Every window of the run is committed in the plan, and none is partial, also in a zone half an hour off UTC."""
    days = 30 if partition_by == "month" else 2
    bounds = RunBounds(timezone=timezone, window_start="2026-09-01", window_end=str(date(2026, 9, 1) + days * DAY))
    run_window = resolve_run_window(bounds)
    windows = divide(run_window, partition_by, timezone)
    ranged = RangeSpec(pull_spec()._replace(run_window=windows[0]), windows)
    pull_range(ranged, reader_of(place.fake, place.clock), place.store, NullObserver())
    time_range = run_window.window
    plan = place.plan(time_range.start, time_range.end, division=partition_by, timezone=timezone)
    assert counts(plan) == {"committed": len(windows)}


def test_destination_of_another_log_is_refused(place: Place) -> None:
    """A plan for another account than the destination holds fails as the pull does."""
    place.pull(TODAY - DAY)
    with pytest.raises(CommitConflictError, match="audit log"):
        place.plan(query=audit_query("v1", None, account_id="1" * 32))
    assert held_query(place.store) == QUERY


def test_range_before_the_history_of_version_2_has_no_history(place: Place) -> None:
    """Windows before version 2's own history are neither missing nor lost."""
    begins_at = TODAY - 3 * DAY
    query = audit_query("v2", None, account_id=ACCOUNT_ID)
    plan = place.plan(TODAY - 5 * DAY, TODAY, query=query, history_starts_at=begins_at)
    assert counts(plan) == {"missing": 3, "no_history": 2}
    assert place.plan(query=query, history_starts_at=begins_at).start == begins_at


def test_range_that_version_1_has_lost_too_is_lost(place: Place) -> None:
    """Of the windows before version 2's history, only those that version 1 still keeps can be read there."""
    begins_at = OLDEST + 3 * DAY
    query = audit_query("v2", None, account_id=ACCOUNT_ID)
    plan = place.plan(OLDEST - 2 * DAY, OLDEST + 4 * DAY, query=query, history_starts_at=begins_at)
    assert counts(plan) == {"missing": 1, "no_history": 3, "lost": 2}
    assert plan.is_obstructed


def test_windows_before_the_history_of_version_2_name_what_has_them(place: Place) -> None:
    """Version 1 has them, unless the log is that of an organization, which only version 2 has."""
    query = audit_query("v2", None, organization_id="2" * 32)
    plan = place.plan(TODAY - 2 * DAY, TODAY - DAY, query=query, history_starts_at=TODAY)
    assert counts(plan) == {"no_history": 1}
    assert "api_version='v1', but none of an organization" in plan.text()


def test_plan_sends_few_requests_and_writes_nothing(tmp_path: Path) -> None:
    """Eighteen months of a quiet log cost at most the samples that are allowed."""
    place = Place(tmp_path / "audit", records_per_day=40)
    for sample_count in (12, 30):
        place.fake.requests.clear()
        plan = place.plan(sample_count=sample_count)
        assert len(place.fake.requests) == plan.sampling.request_count <= sample_count
    assert objects(place.store) == {}


def test_short_log_is_read_whole_by_one_sample(tmp_path: Path) -> None:
    """A log of fewer records than a page is known after one request, but for the days before its instant."""
    plan = Place(tmp_path / "audit", records_per_day=1).plan()
    assert plan.sampling.request_count == 1
    assert plan.sampling.covered_share > 0.95
    assert abs(plan.need.record_count - (TODAY - OLDEST).days) <= 3


def test_second_look_and_recount_are_planned(place: Place) -> None:
    """The edges cost three requests a window more, and a recount reads each window twice."""
    start = TODAY - 10 * DAY
    once, edges, twice = (place.plan(start, TODAY, verify=verify) for verify in (None, EDGES, RECOUNT))
    assert edges.need.request_count == once.need.request_count + 30
    assert twice.need.request_count == 2 * once.need.request_count


@pytest.mark.nightly
def test_plan_of_a_large_log_takes_a_second_round_of_samples(tmp_path: Path) -> None:
    """Where a hundred times the samples are needed anyway, three times as many of them are sent."""
    place = Place(tmp_path / "audit", records_per_day=20_000)
    plan = place.plan(TODAY - 40 * DAY, TODAY, sample_count=6)
    assert 6 < plan.sampling.request_count <= 18
    assert abs(plan.need.record_count / 800_000 - 1) < 0.2


def test_limit_of_the_server_decides_the_minutes(tmp_path: Path) -> None:
    """A limit that the API announces replaces the documented one."""
    plan = Place(tmp_path / "audit", requests_per_window=100).plan(TODAY - 50 * DAY, TODAY)
    assert (plan.need.limit_request_count, plan.need.limit_period_seconds) == (100, 300)
    assert plan.need.limit_seconds == pytest.approx(plan.need.request_count * 3, abs=2)


def test_summary_for_xcom_is_bounded(place: Place) -> None:
    """A destination with a gap on every other day has a summary of twenty spans and ten commands."""
    for number in range(0, 60, 2):
        place.pull(TODAY - (60 - number) * DAY)
    plan = place.plan(TODAY - 60 * DAY, TODAY)
    summary = plan.summary()
    assert (len(plan.commands), plan.more_spans, summary["span_count"]) == (10, 20, 30)
    assert isinstance(summary["spans"], list)
    assert len(summary["spans"]) == SUMMARY_SPANS
    assert plan.count(WindowState.MISSING) == 30


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"division": "week"}, "division"),
        ({"timezone": "Mars/Olympus"}, "time zone"),
        ({"sample_count": 5}, "samples"),
        ({"verify": "twice"}, "verify"),
        ({"start": NOW - timedelta(hours=3)}, "whole day"),
    ],
)
def test_impossible_request_is_refused_before_any_request(place: Place, changes: dict[str, Any], message: str) -> None:
    """A wrong option, and a range without a whole window, are refused without a request."""
    with pytest.raises(ConfigurationError, match=message):
        place.plan(**changes)
    assert place.fake.requests == []


def test_plan_shows_a_name_from_a_descriptor_in_one_line(place: Place) -> None:
    """An escape sequence in the name of a log hides nothing in a terminal."""
    plan = msgspec.structs.replace(place.plan(OLDEST, OLDEST + DAY), audit_log="account \x1b[2J")
    assert plan.text().startswith("account \\x1b[2J\n")
