"""The coverage operator finds gaps that were made on purpose, and a land task fills each of them once."""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, Stats
from airflow.sdk import DAG

from airflow_audit_provider.adapters.clock import SystemClock
from airflow_audit_provider.assets.audit_logs import audit_log_gap_alias, audit_log_gap_asset
from airflow_audit_provider.cli.__main__ import main
from airflow_audit_provider.exceptions import ConfigurationError, NotCommittedError
from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator
from airflow_audit_provider.operators.coverage import CloudflareAuditLogsCoverageOperator
from airflow_audit_provider.operators.verify import CloudflareAuditLogsVerifyOperator
from tests.architecture.source_files import PROJECT
from tests.operators.task_setup import START, TaskSetup
from tests.pipelines.history.arrivals import FIRST, Late, landed_nightly
from tests.pipelines.pull.landing import record_at

DAY, HALF_DAY, DAY_SECONDS = timedelta(days=1), timedelta(hours=12), 86_400.0
Find = Callable[..., list[dict[str, Any]]]


class Pushed:
    """A task instance that keeps what is pushed."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        """Keeps a value."""
        self.values[key] = value


@pytest.fixture
def pushed() -> Pushed:
    """The XComs of the task beside its result."""
    return Pushed()


@pytest.fixture
def find(task_setup: TaskSetup, pushed: Pushed, monkeypatch: pytest.MonkeyPatch) -> Find:
    """Runs the operator on the destination at the time of the fake's clock."""
    monkeypatch.setattr(SystemClock, "now", lambda _: task_setup.clock.now())

    def run(context: Mapping[str, Any] | None = None, **arguments: Any) -> list[dict[str, Any]]:
        given = {"task_id": "find", "destination": f"file://{task_setup.destination}", **arguments}
        return CloudflareAuditLogsCoverageOperator(**given).execute({"ti": pushed, **(context or {})})

    return run


def day(number: int) -> datetime:
    """Returns the midnight so many days after the usual window's start."""
    return START + number * DAY


def begin_after(task_setup: TaskSetup, number: int) -> None:
    """Advances the clock to an hour after the end of a day."""
    ended_at = day(number + 1) + timedelta(hours=1)
    task_setup.clock.advance((ended_at - task_setup.clock.now()).total_seconds())


def land(task_setup: TaskSetup, *numbers: int) -> None:
    """Lands days, each by a run of its own, soon after it is over."""
    for number in numbers:
        task_setup.land(window_start=day(number), window_end=day(number + 1))


def bounds(found: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Returns the bounds of the gaps."""
    return [(one["window_start"], one["window_end"]) for one in found]


def days(first: int, before: int) -> tuple[str, str]:
    """Returns the bounds of some days as the operator returns them."""
    return day(first).isoformat(), day(before).isoformat()


def filled(task_setup: TaskSetup, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Runs the land operator with the arguments of each gap, in order."""
    return [task_setup.operator(**arguments).execute({}) for arguments in found]


@pytest.mark.integration
def test_gaps_are_filled_in_order_of_expiry(task_setup: TaskSetup, find: Find) -> None:
    """Missing days become one landing each gap, oldest first; afterwards there is no gap and every record once."""
    task_setup.clock.advance(20 * DAY_SECONDS)
    land(task_setup, 0, 3, 5)
    found = find(end=day(7))
    assert bounds(found) == [days(1, 3), days(4, 5), days(6, 7)]
    assert [one["committed_count"] for one in filled(task_setup, found)] == [2, 1, 1]
    assert find(end=day(7)) == []
    wanted = [row.raw for row in task_setup.fake.truth("v1", None, day(0), day(7))]
    assert sorted(task_setup.lines()) == sorted(wanted)


@pytest.mark.integration
def test_window_that_is_committed_meanwhile_stays_as_it_is(task_setup: TaskSetup, find: Find) -> None:
    """A gap that another run has filled before its land task starts costs no request and changes no byte."""
    task_setup.clock.advance(20 * DAY_SECONDS)
    land(task_setup, 0, 3)
    found = find(end=day(4))
    land(task_setup, 1, 2)
    before, asked = task_setup.tree(), len(task_setup.fake.requests)
    (summary,) = filled(task_setup, found)
    assert (summary["committed_count"], summary["window_count"]) == (0, 2)
    assert (task_setup.tree(), len(task_setup.fake.requests)) == (before, asked)


@pytest.mark.integration
def test_early_commit_is_read_again_once(task_setup: TaskSetup, find: Find, pushed: Pushed) -> None:
    """A day with a commit within a day of its end is late a day later, and not once its late record is there."""
    begin_after(task_setup, 8)
    land(task_setup, 8)
    assert find() == []
    task_setup.fake.add(record_at((day(8) + timedelta(hours=3)).isoformat(), "late-one"))
    begin_after(task_setup, 9)
    land(task_setup, 9)
    found = find()
    assert bounds(found) == [days(8, 9)]
    assert found[0]["reread_committed"]
    assert pushed.values["summary"]["windows"]["late"] == 1
    (summary,) = filled(task_setup, found)
    assert summary["added_count"] == 1
    assert find({"prev_start_date_success": task_setup.clock.now()}) == []
    assert find() == []


@pytest.mark.integration
def test_late_window_waits_for_the_run_that_succeeds(task_setup: TaskSetup, find: Find) -> None:
    """Without a new record there is no trace of the second reading, so the last successful run decides."""
    begin_after(task_setup, 8)
    land(task_setup, 8)
    begin_after(task_setup, 9)
    land(task_setup, 9)
    filled(task_setup, find())
    assert bounds(find({"prev_start_date_success": day(9)})) == [days(8, 9)]
    assert find({"prev_start_date_success": task_setup.clock.now()}) == []


@pytest.mark.integration
def test_unverified_windows_are_handed_over_on_demand(task_setup: TaskSetup, find: Find, pushed: Pushed) -> None:
    """Days without a passed verification are counted, handed over if asked for, and no gap after verify."""
    task_setup.clock.advance(20 * DAY_SECONDS)
    land(task_setup, 0, 1)
    assert find(end=day(2)) == []
    found = find(end=day(2), reasons=["unverified"])
    assert bounds(found) == [days(0, 2)]
    (summary,) = filled(task_setup, found)
    assert summary["committed_count"] == 0
    CloudflareAuditLogsVerifyOperator(task_id="verify", destination=f"file://{task_setup.destination}").execute({})
    assert find(end=day(2), reasons=["unverified"]) == []


@pytest.mark.integration
def test_lost_days_are_reported_and_never_handed_over(
    task_setup: TaskSetup, find: Find, pushed: Pushed, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is older than the retention is a warning and a count; the rest of the gap is handed over."""
    task_setup.clock.advance(20 * DAY_SECONDS)
    land(task_setup, 0)
    first = task_setup.clock.now() - DAY * 600
    found = find(start=first.date().isoformat(), end=day(1))
    assert found
    assert min(one["window_start"] for one in found) > (task_setup.clock.now() - DAY * 548).isoformat()
    assert pushed.values["summary"]["windows"]["lost"] > 40
    assert "lost for good" in capsys.readouterr().out
    assert {one["partition_by"] for one in found} == {"day"}


@pytest.mark.integration
def test_number_of_gaps_is_limited(
    task_setup: TaskSetup,
    find: Find,
    pushed: Pushed,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """At most as many tasks are mapped as Airflow allows; the log and the XCom say how many gaps remain."""
    task_setup.clock.advance(20 * DAY_SECONDS)
    land(task_setup, 0, 2, 4, 6)
    assert bounds(find(end=day(7), max_gaps=2)) == [days(1, 2), days(3, 4)]
    assert pushed.values["summary"]["remaining_count"] == 1
    assert "1 more gaps remain" in capsys.readouterr().out
    monkeypatch.setenv("AIRFLOW__CORE__MAX_MAP_LENGTH", "1")
    assert len(find(end=day(7), max_gaps=2)) == 1


@pytest.mark.integration
def test_late_gaps_are_never_left_for_a_run_that_does_not_find_them(
    task_setup: TaskSetup, find: Find, pushed: Pushed
) -> None:
    """The next run counts late days from the start of this one, so the limit is for all other gaps."""
    for number in range(2):
        begin_after(task_setup, 10 + 2 * number)
        land(task_setup, 10 + 2 * number)
    begin_after(task_setup, 13)
    handed_over = bounds(find(max_gaps=1))
    next_run = find({"prev_start_date_success": task_setup.clock.now()}, max_gaps=5)
    assert handed_over == [days(10, 11), days(12, 13)]
    assert [one for one in next_run if one["reread_committed"]] == []


@pytest.mark.integration
def test_late_window_is_found_although_the_clocks_of_scheduler_and_worker_differ(
    task_setup: TaskSetup, find: Find
) -> None:
    """The start of the run before is by the scheduler's clock, and what it found by the clock of its worker."""
    begin_after(task_setup, 10)
    land(task_setup, 10)
    complete_at, second = day(12), timedelta(seconds=1)
    task_setup.clock.advance((complete_at - second - task_setup.clock.now()).total_seconds())
    assert not [one for one in find() if one["reread_committed"]]
    task_setup.clock.advance(DAY_SECONDS)
    found = find({"prev_start_date_success": complete_at + second})
    assert bounds([one for one in found if one["reread_committed"]]) == [days(10, 11)]


@pytest.mark.integration
def test_empty_destination_is_missing_from_the_given_start(task_setup: TaskSetup, find: Find) -> None:
    """Without a committed window there is no gap unless a start is given; version 2 begins with its history."""
    task_setup.clock.advance(20 * DAY_SECONDS)
    assert find() == []
    assert bounds(find(start=day(0), end=day(3))) == [days(0, 3)]
    (first, *_) = find(start="2026-03-01", end="2026-03-20", api_version="v2")
    assert first["window_start"].startswith("2026-03-10")


@pytest.mark.integration
def test_days_after_a_longer_day_are_missing_as_soon_as_they_are_settled(
    task_setup: TaskSetup, find: Find, pushed: Pushed
) -> None:
    """The day of the clock change has 25 hours, and the days after it 24."""
    changed_on = datetime.fromisoformat("2026-10-24T22:00:00+00:00")
    next_at = changed_on + timedelta(hours=25)
    task_setup.clock.advance((next_at + 8 * DAY + timedelta(minutes=30) - task_setup.clock.now()).total_seconds())
    task_setup.land(window_start=changed_on, window_end=next_at, timezone="Europe/Berlin")
    found = find(timezone="Europe/Berlin")
    assert bounds([one for one in found if not one["reread_committed"]]) == [
        (next_at.isoformat(), (next_at + 8 * DAY).isoformat())
    ]
    assert pushed.values["summary"]["windows"]["partial"] == 0


@pytest.mark.integration
def test_day_that_is_not_over_is_no_part_of_a_gap(task_setup: TaskSetup, find: Find, pushed: Pushed) -> None:
    """Also if nothing is committed and the range ends later."""
    task_setup.clock.advance(20 * DAY_SECONDS + 3600)
    today = task_setup.clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
    find(start=today - DAY, end=today + DAY)
    assert pushed.values["summary"]["windows"] == {**pushed.values["summary"]["windows"], "missing": 1, "partial": 0}


@pytest.mark.integration
def test_each_gap_is_an_event_and_a_metric(task_setup: TaskSetup, find: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    """The alias gets one event of the gap asset for each gap, and the counters one count, by reason."""
    sent: list[tuple[str, float, Any]] = []
    monkeypatch.setattr(Stats, "incr", lambda name, count, tags: sent.append((name, count, tags)), raising=False)
    monkeypatch.setattr(Stats, "gauge", lambda name, value, tags: sent.append((name, value, tags)), raising=False)
    task_setup.clock.advance(20 * DAY_SECONDS)
    land(task_setup, 0, 3, 5)
    uri = f"file://{task_setup.destination}"
    events = Events()
    find({"outlet_events": {audit_log_gap_alias(uri): events}}, end=day(6), outlets=[audit_log_gap_alias(uri)])
    assert [asset for asset, _ in events.added] == [audit_log_gap_asset(uri)] * 2
    assert [extra["window_count"] for _, extra in events.added] == [2, 1]
    days_left = events.added[0][1]["days_left"]
    gap, windows = "cloudflare_audit_logs.coverage.gaps", "cloudflare_audit_logs.coverage.windows"
    assert [one for one in sent if one[0] == gap] == [(gap, 1, {"reason": "missing"})] * 2
    assert [count for name, count, _ in sent if name == windows] == [2, 1]
    assert ("cloudflare_audit_logs.coverage.days_left", days_left, {}) in sent
    assert len(json.dumps(events.added[0][1])) < 250
    assert not [name for name, *_ in sent if "freshness" in name]
    find()
    # The newest window is day 5, and the clock is at the 20th day after the setup's.
    lag = (SystemClock().now() - day(6)).total_seconds()
    assert ("cloudflare_audit_logs.freshness.landed_lag_seconds", lag, {}) in sent
    assert any(name.endswith("last_event_age_seconds") and value > lag for name, value, _ in sent)


@pytest.mark.integration
def test_deadline_example_waits_for_each_hour_and_counts_no_gap(
    task_setup: TaskSetup, pushed: Pushed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A day without one of its hours is not committed, and until it is, no monitoring system hears of a gap."""
    sent: list[str] = []
    for kind in ("incr", "gauge"):
        monkeypatch.setattr(Stats, kind, lambda name, *_, **__: sent.append(name), raising=False)
    monkeypatch.setattr(SystemClock, "now", lambda _: day(1) + timedelta(hours=2))
    monkeypatch.setenv("AUDIT_DESTINATION", f"file://{task_setup.destination}")
    tasks: list[Any] = []
    with monkeypatch.context() as parsing:
        parsing.setattr(DAG, "add_task", lambda _, task: tasks.append(task))
        example = runpy.run_path(str(PROJECT / "dags" / "cloudflare_audit_deadline.py"))
    (task,) = tasks
    task.start, task.end = days(0, 1)

    def attempt() -> None:
        example["fail_on_gap"]({}, task.execute({"ti": pushed}))

    with pytest.raises(RuntimeError, match=f"^{re.escape(day(0).isoformat())} is not committed"):
        attempt()
    last = day(1) - timedelta(hours=1)
    task_setup.land(window_start=day(0), window_end=last, partition_by="hour")
    with pytest.raises(RuntimeError, match=f"^{re.escape(last.isoformat())} is not committed"):
        attempt()
    task_setup.land(window_start=last, window_end=day(1))
    attempt()
    assert [name for name in sent if ".coverage." in name] == []


@pytest.mark.integration
def test_old_newest_record_fails_the_attempt_until_a_newer_one_is_committed(
    task_setup: TaskSetup, find: Find, tmp_path: Path
) -> None:
    """The age counts back from the end of the range; a late record that is added makes the day new enough."""
    task_setup.clock.advance(20 * DAY_SECONDS)
    morning = Late("morning", FIRST + timedelta(hours=9), FIRST + timedelta(hours=9))
    evening = Late("evening", FIRST + timedelta(hours=20), FIRST + 2 * DAY)
    bounds = {"start": FIRST, "end": FIRST + DAY, "reasons": ("missing",)}
    landed_nightly(tmp_path / "early", [morning], 1, timedelta(0))
    landed_nightly(tmp_path / "late", [morning, evening], 1, 3 * DAY)
    early, late = (f"file://{tmp_path / name}" for name in ("early", "late"))
    find(destination=early, max_event_age=timedelta(hours=15), **bounds)
    with pytest.raises(NotCommittedError, match="so records are late or nothing happened"):
        find(destination=early, max_event_age=timedelta(hours=14), **bounds)
    find(destination=late, max_event_age=timedelta(hours=4), **bounds)
    with pytest.raises(ConfigurationError, match="max_event_age"):
        find(max_event_age=timedelta(0))


@pytest.mark.integration
def test_gap_is_handed_over_before_old_records_fail_a_task(task_setup: TaskSetup, find: Find, tmp_path: Path) -> None:
    """A late day is handed over although its newest record is old; one without a gap to hand over fails."""
    task_setup.clock.advance(20 * DAY_SECONDS)
    morning = Late("morning", FIRST + timedelta(hours=9), FIRST + timedelta(hours=9))
    landed_nightly(tmp_path / "early", [morning], 1, timedelta(0))
    given = {
        "destination": f"file://{tmp_path / 'early'}",
        "start": FIRST,
        "end": FIRST + DAY,
        "max_event_age": HALF_DAY,
    }
    assert bounds(find(**given)) == [(FIRST.isoformat(), (FIRST + DAY).isoformat())]
    with pytest.raises(NotCommittedError, match="so records are late or nothing happened"):
        find(**given, reasons=("missing",))


class Events:
    """Keeps the events that are added to an alias."""

    def __init__(self) -> None:
        self.added: list[tuple[Any, dict[str, Any]]] = []

    def add(self, asset: Any, extra: dict[str, Any]) -> None:
        """Keeps an event."""
        self.added.append((asset, extra))


def test_landing_operator_can_be_mapped_over_the_result() -> None:
    """Airflow accepts the coverage operator's output as the arguments of a mapped land task."""
    with DAG(dag_id="gaps", schedule=None):
        found = CloudflareAuditLogsCoverageOperator(task_id="find", destination="file:///audit")
        fill = CloudflareAuditLogsToObjectStorageOperator.partial(task_id="fill", destination="file:///audit")
        mapped = fill.expand_kwargs(found.output)
    assert mapped.upstream_task_ids == {"find"}


@pytest.mark.parametrize(
    "arguments",
    [
        {"division": "week"},
        {"timezone": "Mars/Olympus"},
        {"reasons": ["missed"]},
        {"reasons": "missing"},
        {"late_delay": -DAY},
        {"late_delay": 1},
        {"max_gaps": 0},
        {"destination": "s3://audit/a#b"},
    ],
)
def test_impossible_arguments_fail_when_the_dag_is_parsed(arguments: dict[str, Any]) -> None:
    """An argument that is invalid in every run is an error before any run."""
    with pytest.raises(ConfigurationError):
        CloudflareAuditLogsCoverageOperator(**{"task_id": "find", "destination": "file:///audit", **arguments})


def test_wrong_bound_fails_the_task_at_once(find: Find) -> None:
    """A rendered start that is no time is no reason to retry."""
    with pytest.raises(AirflowFailException, match="start"):
        find(start="yesterday")


@pytest.mark.integration
def test_root_of_a_stitched_history_is_refused(
    task_setup: TaskSetup, find: Find, capsys: pytest.CaptureFixture[str]
) -> None:
    """The operator and the command ask for a folder of one version; in that folder the operator finds the gaps."""
    task_setup.clock.advance(20 * DAY_SECONDS)
    task_setup.land(history="stitched", window_start=day(0), window_end=day(1))
    with pytest.raises(AirflowFailException, match="Give these folders, v1 and v2"):
        find(start=day(0))
    assert main(["pull", str(task_setup.destination)]) == 2
    assert "Give these folders, v1 and v2" in capsys.readouterr().err
    assert bounds(find(destination=f"file://{task_setup.destination}/v2", end=day(3))) == [days(1, 3)]
