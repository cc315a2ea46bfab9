"""Tests that the sensor and its triggers find new activity, by poking or deferring, and report failures."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pendulum
import pytest
from airflow.providers.common.compat.module_loading import import_string
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, TaskDeferred
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_audit_provider.exceptions import ConfigurationError, SourceUnavailableError
from airflow_audit_provider.hooks import cloudflare as hooks
from airflow_audit_provider.hooks.cloudflare import CloudflareHook
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.server import FakeServer
from airflow_audit_provider.testing.transport import FakeTransport
from airflow_audit_provider.triggers.audit_logs import AuditLogActivityTrigger, WindowSettledTrigger
from tests.operators.task_setup import START, TaskSetup
from tests.pipelines.pull.landing import record_at

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
QUIET = {"filters": {"action_type": "late"}, "since": NOON - timedelta(hours=1)}


class ScriptedClock(ManualClock):
    """Manual clock that runs an action at a given sleep."""

    def __init__(self, happenings: dict[int, Callable[[], object]]) -> None:
        super().__init__(NOON)
        self._happenings = happenings

    async def asleep(self, seconds: float) -> None:
        """Sleeps, then runs the action of this sleep."""
        await super().asleep(seconds)
        self._happenings.get(len(self.sleeps), lambda: None)()


def _add_late(task_setup: TaskSetup, version: str = "v1") -> None:
    task_setup.fake.add(record_at("2026-11-02T11:30:00Z", "late-one", version), version)


def _first(trigger: BaseTrigger) -> Any:
    """Returns the payload of a trigger's only event."""

    async def run() -> list[TriggerEvent]:
        return [event async for event in trigger.run()]

    events = asyncio.run(asyncio.wait_for(run(), 20))
    assert len(events) == 1
    return events[0].payload


def _watch(task_setup: TaskSetup, monkeypatch: pytest.MonkeyPatch, clock: ManualClock) -> None:
    """Connects triggers to the fake and the clock."""
    built = functools.partial(CloudflareHook, transport=FakeTransport(task_setup.fake), clock=clock)
    monkeypatch.setattr(hooks, "CloudflareHook", built)


def _trigger(**changes: Any) -> AuditLogActivityTrigger:
    query = {"filters": QUIET["filters"], **changes.pop("query", {})}
    arguments = {"since": QUIET["since"], "poll_interval_seconds": 30.0, **changes}
    return AuditLogActivityTrigger("cloudflare_default", query=query, **arguments)


def test_poke_with_activity_succeeds(task_setup: TaskSetup) -> None:
    """Succeeds at the first poll; the summary has the watermark, the count and the last event time."""
    found = task_setup.sensor().execute({})
    assert found["since"] == "2026-10-26T00:00:00Z"
    assert found["record_count"] >= 1
    assert "2026-10-26" in found["first_event_at"]


def test_poke_without_activity_does_not_succeed(task_setup: TaskSetup) -> None:
    """Does not succeed until the record exists."""
    sensor = task_setup.sensor(**QUIET)
    assert not sensor.poke({}).is_done
    _add_late(task_setup)
    assert sensor.poke({}).is_done


@pytest.mark.parametrize("since", ["2026-10-26", pendulum.datetime(2026, 10, 26, tz="Europe/Berlin")])
def test_watermark_may_be_a_text_or_a_time_of_pendulum(task_setup: TaskSetup, since: Any) -> None:
    """Finds activity from a watermark in each form that a DAG gives."""
    assert task_setup.sensor(since=since).poke({}).is_done


def test_reschedule_mode_without_activity_reschedules(task_setup: TaskSetup) -> None:
    """Asks Airflow to reschedule after one poll without activity."""
    sensor = task_setup.sensor(**QUIET, mode="reschedule", poke_interval=90, timeout=10)
    assert sensor.reschedule
    assert not sensor.poke({}).is_done


@pytest.mark.integration
def test_minimum_count_is_inclusive(task_setup: TaskSetup) -> None:
    """Fewer records than the minimum are not enough; exactly as many are."""
    count = len(list(task_setup.fake.truth("v1", None, START, NOON)))
    assert task_setup.sensor(minimum_count=count).poke({}).is_done
    assert not task_setup.sensor(minimum_count=count + 1).poke({}).is_done


def test_watermark_defaults_to_interval_start_inclusive(task_setup: TaskSetup) -> None:
    """Counts a record at the start of the data interval."""
    task_setup.fake.add(record_at("2026-11-02T11:30:00Z", "late-one"))
    at = datetime(2026, 11, 2, 11, 30, tzinfo=UTC)
    sensor = task_setup.sensor(since=None, filters=QUIET["filters"])
    assert sensor.poke({"data_interval_start": at}).is_done
    assert not sensor.poke({"data_interval_start": at + timedelta(microseconds=1)}).is_done


def test_run_without_watermark_fails_permanently(task_setup: TaskSetup) -> None:
    """Fails a run without a data interval, and names ``since`` as the remedy."""
    with pytest.raises(AirflowFailException, match="Set the argument since"):
        task_setup.sensor(since=None).poke({})


def test_invalid_argument_fails_at_dag_parse(task_setup: TaskSetup) -> None:
    """Rejects a minimum of zero and an unknown filter."""
    with pytest.raises(ConfigurationError, match="minimum_count"):
        task_setup.sensor(minimum_count=0)
    with pytest.raises(ConfigurationError, match="actor_email"):
        task_setup.sensor(filters={"actor_emial": "x"})


def test_deferring_passes_every_argument_to_the_trigger(task_setup: TaskSetup) -> None:
    """Polls once, then defers with the same watermark, count, interval and query."""
    sensor = task_setup.sensor(
        **QUIET, deferrable=True, minimum_count=3, poke_interval=45, timeout=600, api_version="v2"
    )
    with pytest.raises(TaskDeferred) as caught:
        sensor.execute({})
    trigger = caught.value.trigger
    assert isinstance(trigger, AuditLogActivityTrigger)
    _, arguments = trigger.serialize()
    assert arguments["since"] == "2026-11-02T11:00:00+00:00"
    assert (arguments["minimum_count"], arguments["poll_interval_seconds"]) == (3, 45.0)
    assert (arguments["query"]["api_version"], arguments["query"]["filters"]) == ("v2", QUIET["filters"])
    assert caught.value.timeout == timedelta(seconds=600)
    assert caught.value.method_name == "execute_complete"
    assert task_setup.fake.requests


def test_deferrable_sensor_with_activity_succeeds_without_deferring(task_setup: TaskSetup) -> None:
    """Succeeds if the first poll finds enough."""
    assert task_setup.sensor(deferrable=True).execute({})["record_count"] >= 1


def test_trigger_event_ends_the_sensor(task_setup: TaskSetup) -> None:
    """Returns a found event, and fails permanently with the code of a failed one."""
    sensor = task_setup.sensor()
    activity = {"since": "2026-11-02T00:00:00Z", "record_count": 2, "last_event_at": "2026-11-02T03:00:00Z"}
    assert sensor.execute_complete({}, {"status": "found", "activity": activity}) == activity
    with pytest.raises(AirflowFailException, match=r"^no\nSourceAuthError: https"):
        sensor.execute_complete({}, {"status": "failed", "code": "SourceAuthError", "message": "no"})


def test_refused_poke_fails_permanently(task_setup: TaskSetup) -> None:
    """Fails at once for a refused credential; Airflow retries a temporary failure."""
    task_setup.misbehave("status=403")
    with pytest.raises(AirflowFailException, match="SourceAuthError"):
        task_setup.sensor().poke({})
    task_setup.misbehave("status=503")
    with pytest.raises(SourceUnavailableError):
        task_setup.sensor().poke({})


def test_soft_fail_skips_on_timeout(task_setup: TaskSetup) -> None:
    """Skips a sensor with ``soft_fail`` that times out without activity."""
    with pytest.raises(AirflowSkipException):
        task_setup.sensor(**QUIET, soft_fail=True, timeout=0.01, poke_interval=0.02).execute({})


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_trigger_fires_on_new_activity(task_setup: TaskSetup, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    """Polls, sleeps its interval, polls again, and fires once the record exists."""
    clock = ScriptedClock({3: lambda: _add_late(task_setup, version)})
    _watch(task_setup, monkeypatch, clock)
    payload = _first(_trigger(query={"api_version": version}))
    assert (payload["status"], payload["activity"]["record_count"]) == ("found", 1)
    assert payload["activity"]["first_event_at"] == "2026-11-02T11:30:00Z"
    assert clock.sleeps == [30.0, 30.0, 30.0]


def test_trigger_backs_off_during_outage_and_recovers(task_setup: TaskSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits longer after each failure; the normal interval returns after the outage."""
    task_setup.connect(extra={"account_id": task_setup.fake.settings.account_ids[0], "max_attempts": 1})
    task_setup.misbehave("status=503")
    clock = ScriptedClock({2: task_setup.misbehave, 4: lambda: _add_late(task_setup)})
    _watch(task_setup, monkeypatch, clock)
    assert _first(_trigger())["status"] == "found"
    assert clock.sleeps == [60.0, 120.0, 30.0, 30.0]
    assert 503 in [asked.status for asked in task_setup.fake.requests]


@pytest.mark.parametrize(("spec", "code"), [("status=401", "SourceAuthError"), ("status=404", "ConfigurationError")])
def test_trigger_fires_failed_event_for_permanent_error(
    task_setup: TaskSetup, monkeypatch: pytest.MonkeyPatch, spec: str, code: str
) -> None:
    """Sends one request and one event with the error's code."""
    task_setup.misbehave(spec)
    _watch(task_setup, monkeypatch, ManualClock(NOON))
    payload = _first(_trigger())
    assert (payload["status"], payload["code"]) == ("failed", code)
    assert len(task_setup.fake.requests) == 1


def test_trigger_without_connection_fires_failed_event(task_setup: TaskSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing connection gives one failed event, not a loop."""
    _watch(task_setup, monkeypatch, ManualClock(NOON))
    trigger = AuditLogActivityTrigger("gone", since=NOON)
    assert _first(trigger)["code"] == "ConfigurationError"


def test_trigger_over_a_socket_finds_activity(task_setup: TaskSetup) -> None:
    """Finds the records of a real server."""
    with FakeServer(task_setup.fake) as server:
        task_setup.connect(host=server.base_url)
        assert _first(AuditLogActivityTrigger("cloudflare_default", since=START))["status"] == "found"


@pytest.mark.parametrize(
    "trigger",
    [
        WindowSettledTrigger(NOON),
        AuditLogActivityTrigger("c", NOON, 3, 12.5, {"api_version": "v2", "filters": {"id": ["a"]}}),
    ],
)
def test_trigger_survives_serialization(trigger: BaseTrigger) -> None:
    """The serialized trigger builds an equal trigger."""
    path, arguments = trigger.serialize()
    again = import_string(path)(**arguments)
    assert type(again) is type(trigger)
    assert again.serialize() == (path, arguments)


@pytest.mark.integration
def test_settled_window_trigger_fires_at_once() -> None:
    """Fires at once for an instant in the past, and soon for one in the near future."""
    assert _first(WindowSettledTrigger(NOON - timedelta(days=300))) == {"settled_at": "2026-01-06T12:00:00+00:00"}
    soon = datetime.now(UTC) + timedelta(seconds=0.2)
    _first(WindowSettledTrigger(soon))
    assert datetime.now(UTC) >= soon
