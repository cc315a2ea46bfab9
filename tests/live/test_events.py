"""Waiting and watching on a real Airflow need no slot, survive a dead triggerer, and never poll in a tight loop."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from harness.airflow_instance import TooLateError
from tests.live.live_airflow import LiveAirflow, Row
from tests.live.suspicious_actions_dag import SUSPICIOUS, Alarm, Done

# Far more than a quiet machine takes (20 s); a shared one is slow.
SOON_SECONDS = 480.0
# A poll interval of 3 s (dags/watched.py), and what a loaded machine needs at most to store an event.
INTERVAL_SECONDS, LOOP_SECONDS = 3.0, 120.0
# The default interval, which the example keeps, and what a loaded scheduler needs to create a run.
EXAMPLE_INTERVAL_SECONDS, SCHEDULER_SECONDS = 60.0, 120.0


class EventScenario:
    """Controls the fake Cloudflare (version 2) and reads the state of a live Airflow."""

    def __init__(self, live: LiveAirflow) -> None:
        self.live = live
        self._control_url = str(live.account.truth_url).removesuffix("truth")
        self._client = httpx.Client(trust_env=False, timeout=20)
        self._shown_at: dict[str, datetime] = {}

    def misbehave(self, *switches: str) -> None:
        """Replaces the misbehaviours of the fake for version 2 of the API."""
        lines = "\n".join(f"{switch},version=v2" for switch in switches)
        self._client.post(f"{self._control_url}misbehave", content=lines).raise_for_status()

    def insert(self, action: str) -> str:
        """Adds a record of an action now; returns its id."""
        record = {"id": uuid4().hex, "action": {"type": action, "time": datetime.now(UTC).isoformat()}}
        shown_at = datetime.now(UTC)
        answer = self._client.post(f"{self._control_url}records", params={"version": "v2"}, json=record)
        record_id = answer.raise_for_status().text.strip()
        self._shown_at[record_id] = shown_at
        return record_id

    def requests(self, *, filtered: bool) -> list[Row]:
        """Returns the requests for version 2 records so far: of sensors (with filters) or of watchers (without)."""
        log = [httpx.Response(200, content=line).json() for line in self._log()]
        rows = [row for row in log if row["path"].endswith("/logs/audit")]
        return [row for row in rows if any(name == "action_type" for name, _ in row["params"]) is filtered]

    def _log(self) -> list[bytes]:
        return self._client.get(f"{self._control_url}requests").raise_for_status().content.splitlines()

    def watched_for(self, seconds: float) -> int:
        """Returns how many requests watchers send in so many seconds."""
        before = len(self.requests(filtered=False))
        time.sleep(seconds)
        return len(self.requests(filtered=False)) - before

    def reported(self, dag_id: str) -> list[Row]:
        """Returns the payloads of the asset events that started a DAG's runs, oldest first."""
        ended = [run for run in self.live.runs(dag_id) if run["state"] == "success"]
        return [payload for run in ended for payload in self.live.xcom(dag_id, run["dag_run_id"], "reported")]

    def reported_ids(self, dag_id: str) -> list[str]:
        """Returns the ids of the records that a DAG's runs reported."""
        return [record["id"] for payload in self.reported(dag_id) for record in payload["records"]]

    def seconds_to_event(self, asset: str, record_id: str) -> float:
        """Returns the seconds from a record's appearance in the log to Airflow's asset event, by recorded times."""
        events = self.live.events(asset)
        naming = [event for event in events if record_id in str(event["extra"]["payload"]["records"])]
        first = min(datetime.fromisoformat(event["timestamp"]) for event in naming)
        return (first - self._shown_at[record_id]).total_seconds()

    def await_report(self, dag_id: str, record_id: str, within_seconds: float = SOON_SECONDS) -> None:
        """Waits until a run has reported a record."""
        self.wait(lambda: record_id in self.reported_ids(dag_id), f"{dag_id} to report {record_id}", within_seconds)

    def task(self, dag_id: str, run_id: str, task_id: str = "wait") -> Row:
        """Returns one task instance."""
        (found,) = (task for task in self.live.tasks(dag_id, run_id) if task["task_id"] == task_id)
        return found

    def await_state(self, dag_id: str, run_id: str, state: str, task_id: str = "wait") -> None:
        """Waits until a task is in a state."""
        self.wait(lambda: self.task(dag_id, run_id, task_id)["state"] == state, f"{dag_id}.{task_id} to be {state}")

    def wait(self, ready: Callable[[], bool], what: str, within_seconds: float = SOON_SECONDS) -> None:
        """Waits until a condition is true."""
        self.live.instance.wait(ready, within_seconds, what)

    def wait_for_activity(self, action: str) -> str:
        """Starts a sensor for an action from now on; returns its run's id when it is deferred."""
        since = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
        run_id = self.live.trigger("wait_for_activity", conf={"since": since, "action": action})
        self.await_state("wait_for_activity", run_id, "deferred")
        return run_id

    def restart_triggerer(self, meanwhile: Callable[[], Any]) -> Any:
        """Kills the triggerer, calls a function, and starts the triggerer again."""
        self.live.kill("triggerer")
        happened = meanwhile()
        self.live.instance.start("triggerer", "triggerer")
        return happened


@pytest.fixture(scope="module")
def alarm(live: LiveAirflow) -> Iterator[tuple[Alarm, Done]]:
    """The running example for suspicious actions, and the actions performed before the tests that wait."""
    alarm = Alarm(live)
    alarm.start()
    yield alarm, alarm.do()
    alarm.stop()


@pytest.fixture
def scene(live: LiveAirflow, alarm: tuple[Alarm, Done]) -> Iterator[EventScenario]:
    """A scenario on the shared Airflow; afterwards the fake has no misbehaviour."""
    scene = EventScenario(live)
    live.unpause("wait_for_activity", "skip_softly", "wait_for_the_window", "on_token", "on_member")
    # A watcher begins with the second parse of its file, after its DAGs are unpaused.
    live.reparse("on_token")
    yield scene
    scene.misbehave()


def seen_waiting(scene: EventScenario) -> tuple[str, datetime]:
    """Returns a run both of whose tasks were seen to wait for the end of their window, and that end."""
    waiting = {"deferred": "deferred", "rescheduled": "up_for_reschedule"}
    end = datetime.now(UTC) - timedelta(hours=1)
    # A busy machine may start the tasks after the first end. Another window begins there, so that none overlap.
    for seconds in (30, 120, 480):
        start, end = end, datetime.now(UTC) + timedelta(seconds=seconds)
        conf = {"start": start.isoformat(), "end": end.isoformat()}
        run_id = scene.live.trigger("wait_for_the_window", conf=conf)

        def wait(run_id: str = run_id) -> bool:
            return all(scene.task("wait_for_the_window", run_id, name)["state"] == waiting[name] for name in waiting)

        with suppress(TooLateError):
            scene.wait(wait, "both tasks to wait", seconds)
            return run_id, end
    pytest.fail("No task was seen to wait, however late its window ended.")


def test_windows_are_waited_for_without_a_slot(scene: EventScenario) -> None:
    """A task whose window is not settled is deferred or rescheduled, and lands it in its first attempt."""
    run_id, end = seen_waiting(scene)
    assert scene.live.await_run("wait_for_the_window", run_id) == "success"
    for task in scene.live.tasks("wait_for_the_window", run_id):
        assert task["try_number"] == 1
        assert datetime.fromisoformat(task["end_date"]) >= end
    log = scene.live.log(scene.task("wait_for_the_window", run_id, "rescheduled"))
    # Once to find that it is too early, once to land; more would mean that the date is not looked at.
    assert log.count("taken from: explicit bounds") == 2


def test_soft_fail_skips_while_deferred(scene: EventScenario) -> None:
    """A deferred sensor with `soft_fail` is skipped after its timeout."""
    run_id = scene.live.trigger("skip_softly")
    assert scene.live.await_run("skip_softly", run_id) == "success"
    assert scene.task("skip_softly", run_id)["state"] == "skipped"


def test_suspicious_actions_start_the_example_once(alarm: tuple[Alarm, Done]) -> None:
    """The example's watcher starts its DAG, whose task reports each suspicious action once, and nothing else."""
    shown, done = alarm
    reports = shown.await_reports(done.suspicious_ids)
    reported = sum(reports.values(), Counter())
    assert [reported[one] for one in done.suspicious_ids] == [1, 1, 1]
    assert done.harmless_id not in reported
    assert set(shown.truth(set(reported))) == set(SUSPICIOUS)
    telling = [run_id for run_id, report in reports.items() if not report.keys().isdisjoint(done.suspicious_ids)]
    late = max(shown.created_at(run_id) for run_id in telling) - done.readable_at
    print(f"suspicious actions, from readable to the run: {late.total_seconds():.1f} s")
    assert late.total_seconds() <= EXAMPLE_INTERVAL_SECONDS + LOOP_SECONDS + SCHEDULER_SECONDS


@pytest.mark.by_day("3.3.2")
def test_nothing_is_lost_while_the_triggerer_is_dead(scene: EventScenario) -> None:
    """Actions before, during and after an outage of the triggerer reach the watcher's DAG and the sensor."""
    first = scene.insert("made_token")
    scene.await_report("on_token", first)
    # An action of this run's own: an earlier run's records would end the sensor before it is deferred.
    action = f"awaited_{uuid4().hex}"
    run_id = scene.wait_for_activity(action)
    # Without a state store, before 3.3, the watcher looks back 10 minutes: reported twice, never lost.
    is_kept = scene.live.version == "3.3.2"
    if is_kept:
        # Two looks later the mark is kept.
        time.sleep(10)
    second = scene.restart_triggerer(lambda: scene.insert("made_token"))
    scene.await_report("on_token", second)
    third = scene.insert("made_token")
    awaited = scene.insert(action)
    scene.await_report("on_token", third)
    assert scene.live.await_run("wait_for_activity", run_id) == "success"
    assert scene.live.xcom("wait_for_activity", run_id, "wait")["record_count"] == 1
    assert awaited not in scene.reported_ids("on_token")
    reported = scene.reported_ids("on_token")
    assert reported.count(first) == (1 if is_kept else 2)
    assert (reported.count(second), reported.count(third)) == (1, 1)
    assert scene.seconds_to_event("watched-token", third) <= INTERVAL_SECONDS + LOOP_SECONDS


@pytest.mark.by_day("3.3.2")
def test_two_watchers_share_one_reading(scene: EventScenario) -> None:
    """From 3.3 on, watchers with different filters on one log share its requests; each reports its own records."""
    asked_count = scene.watched_for(15)
    member = scene.insert("made_member")
    scene.await_report("on_member", member)
    assert member not in scene.reported_ids("on_token")
    # One look a poll interval of 3 s and its answers, a request and one that proves the end; before 3.3 each
    # watcher looks for itself.
    assert 2 <= asked_count <= 12 if scene.live.version == "3.3.2" else asked_count > 12


@pytest.mark.by_day("3.3.2")
def test_failures_do_not_spin(scene: EventScenario) -> None:
    """An outage causes few requests; a refused credential fails the sensor at once, but ends no watcher."""
    run_id = scene.wait_for_activity("never_awaited")
    scene.misbehave("status=503")
    outage_count = scene.watched_for(7)
    assert scene.task("wait_for_activity", run_id)["state"] == "deferred"
    scene.misbehave("status=401")
    assert scene.live.await_run("wait_for_activity", run_id) == "failed"
    (task,) = scene.live.tasks("wait_for_activity", run_id)
    assert task["try_number"] == 1
    assert "SourceAuthError" in scene.live.log(task)
    refused_count = scene.watched_for(7)
    scene.misbehave()
    scene.await_report("on_member", scene.insert("made_member"))
    watcher_count = 1 if scene.live.version == "3.3.2" else 2
    assert 1 <= outage_count <= 6 * watcher_count
    # Airflow starts a watcher that ended every 2 s, which would be more.
    assert refused_count <= 2 * watcher_count


@pytest.mark.since("3.3.2")
def test_the_retry_policy_decides(scene: EventScenario) -> None:
    """A rate limit determines when the next attempt starts; a refused credential has one attempt."""
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=3)
    conf = {"start": (end - timedelta(hours=1)).isoformat(), "end": end.isoformat()}
    scene.live.unpause("policy_impatient", "policy_refused")
    scene.misbehave("rate_limited=20")
    limited, refused = (scene.live.trigger(f"policy_{name}", conf=conf) for name in ("impatient", "refused"))
    scene.await_state("policy_impatient", limited, "up_for_retry", "land")
    scene.misbehave()
    failed_at = datetime.fromisoformat(scene.task("policy_impatient", limited, "land")["end_date"])
    assert scene.live.await_run("policy_impatient", limited) == "success"
    landed = scene.task("policy_impatient", limited, "land")
    assert landed["try_number"] == 2
    waited = datetime.fromisoformat(landed["start_date"]) - failed_at
    assert timedelta(seconds=15) <= waited <= timedelta(minutes=3)
    assert scene.live.await_run("policy_refused", refused) == "failed"
    task = scene.task("policy_refused", refused, "land")
    assert task["try_number"] == 1
    assert "SourceAuthError" in scene.live.log(task)
