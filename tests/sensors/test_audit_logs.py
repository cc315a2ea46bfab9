"""The sensor and its triggers find new activity, by poking or without a slot, and say why when they cannot."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

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


class TurningClock(ManualClock):
    """A clock on which something happens at the Nth sleep."""

    def __init__(self, happenings: dict[int, Callable[[], object]]) -> None:
        super().__init__(NOON)
        self._happenings = happenings

    async def asleep(self, seconds: float) -> None:
        """Sleep, then let happen what is due."""
        await super().asleep(seconds)
        self._happenings.get(len(self.sleeps), lambda: None)()


def _add_late(task_setup: TaskSetup, version: str = "v1") -> None:
    task_setup.fake.add(record_at("2026-11-02T11:30:00Z", "late-one", version), version)


def _first(trigger: BaseTrigger) -> Any:
    """Return the payload of a trigger's only event."""

    async def run() -> list[TriggerEvent]:
        return [event async for event in trigger.run()]

    events = asyncio.run(asyncio.wait_for(run(), 20))
    assert len(events) == 1
    return events[0].payload


def _watch(task_setup: TaskSetup, monkeypatch: pytest.MonkeyPatch, clock: ManualClock) -> None:
    """Let triggers build their hook on the fake and the clock."""
    built = functools.partial(CloudflareHook, transport=FakeTransport(task_setup.fake), clock=clock)
    monkeypatch.setattr(hooks, "CloudflareHook", built)


def _trigger(**changes: Any) -> AuditLogActivityTrigger:
    query = {"filters": QUIET["filters"], **changes.pop("query", {})}
    arguments = {"since": QUIET["since"], "poll_interval_seconds": 30.0, **changes}
    return AuditLogActivityTrigger("cloudflare_default", query=query, **arguments)


def test_a_poke_finds_activity(task_setup: TaskSetup) -> None:
    """A busy log satisfies at the first look, and the summary says since when, how many and how far."""
    found = task_setup.sensor().execute({})
    assert found["since"] == "2026-10-26T00:00:00Z"
    assert found["record_count"] >= 1
    assert "2026-10-26" in found["first_event_at"]


def test_a_poke_finds_nothing(task_setup: TaskSetup) -> None:
    """A quiet log does not satisfy, until the record is there."""
    sensor = task_setup.sensor(**QUIET)
    assert not sensor.poke({}).is_done
    _add_late(task_setup)
    assert sensor.poke({}).is_done


def test_rescheduling_gives_the_slot_back(task_setup: TaskSetup) -> None:
    """In reschedule mode one look without activity asks Airflow to come back."""
    sensor = task_setup.sensor(**QUIET, mode="reschedule", poke_interval=90, timeout=10)
    assert sensor.reschedule
    assert not sensor.poke({}).is_done


def test_enough_is_the_minimum(task_setup: TaskSetup) -> None:
    """Fewer records than the minimum are no activity, exactly as many are."""
    count = len(list(task_setup.fake.truth("v1", None, START, NOON)))
    assert task_setup.sensor(minimum_count=count).poke({}).is_done
    assert not task_setup.sensor(minimum_count=count + 1).poke({}).is_done


def test_the_watermark_is_inclusive_and_comes_from_the_run(task_setup: TaskSetup) -> None:
    """Without since the data interval's start is the watermark, and a record at it counts."""
    task_setup.fake.add(record_at("2026-11-02T11:30:00Z", "late-one"))
    at = datetime(2026, 11, 2, 11, 30, tzinfo=UTC)
    sensor = task_setup.sensor(since=None, filters=QUIET["filters"])
    assert sensor.poke({"data_interval_start": at}).is_done
    assert not sensor.poke({"data_interval_start": at + timedelta(microseconds=1)}).is_done


def test_no_watermark_is_a_failure(task_setup: TaskSetup) -> None:
    """A run without a data interval fails for good and says to give since."""
    with pytest.raises(AirflowFailException, match="Give since"):
        task_setup.sensor(since=None).poke({})


def test_a_wrong_sensor_fails_the_parsing(task_setup: TaskSetup) -> None:
    """A minimum of none, or a filter nobody knows, is refused when the DAG is parsed."""
    with pytest.raises(ConfigurationError, match="minimum_count"):
        task_setup.sensor(minimum_count=0)
    with pytest.raises(ConfigurationError, match="actor_email"):
        task_setup.sensor(filters={"actor_emial": "x"})


def test_deferring_hands_over_all_it_was_told(task_setup: TaskSetup) -> None:
    """A deferrable sensor looks once, then leaves a trigger with the same watermark, count, interval and query."""
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


def test_deferring_is_not_needed_when_satisfied(task_setup: TaskSetup) -> None:
    """A deferrable sensor whose first look finds enough ends at once."""
    assert task_setup.sensor(deferrable=True).execute({})["record_count"] >= 1


def test_the_events_end_the_sensor(task_setup: TaskSetup) -> None:
    """A found event becomes the result, a failed one fails for good with its code."""
    sensor = task_setup.sensor()
    assert sensor.execute_complete({}, {"status": "found", "activity": {"record_count": 2}}) == {"record_count": 2}
    with pytest.raises(AirflowFailException, match="SourceAuthError: no"):
        sensor.execute_complete({}, {"status": "failed", "code": "SourceAuthError", "message": "no"})


def test_a_refused_poke_fails_for_good(task_setup: TaskSetup) -> None:
    """A refused credential fails at once; trouble that passes is left to Airflow's retries."""
    task_setup.misbehave("status=403")
    with pytest.raises(AirflowFailException, match="SourceAuthError"):
        task_setup.sensor().poke({})
    task_setup.misbehave("status=503")
    with pytest.raises(SourceUnavailableError):
        task_setup.sensor().poke({})


def test_soft_fail_skips_on_a_timeout(task_setup: TaskSetup) -> None:
    """A sensor that may fail softly skips when its time is over without activity."""
    with pytest.raises(AirflowSkipException):
        task_setup.sensor(**QUIET, soft_fail=True, timeout=0.01, poke_interval=0.02).execute({})


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_trigger_fires_on_new_activity(task_setup: TaskSetup, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    """A trigger looks, sleeps its interval, looks again, and fires once the record is there."""
    clock = TurningClock({3: lambda: _add_late(task_setup, version)})
    _watch(task_setup, monkeypatch, clock)
    payload = _first(_trigger(query={"api_version": version}))
    assert (payload["status"], payload["activity"]["record_count"]) == ("found", 1)
    assert payload["activity"]["first_event_at"] == "2026-11-02T11:30:00Z"
    assert clock.sleeps == [30.0, 30.0, 30.0]


def test_a_trigger_outlives_passing_trouble(task_setup: TaskSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    """An API that is away costs pauses that grow, not the wait; after it the interval is as before."""
    task_setup.connect(extra={"account_id": task_setup.fake.settings.account_ids[0], "max_attempts": 1})
    task_setup.misbehave("status=503")
    clock = TurningClock({2: task_setup.misbehave, 4: lambda: _add_late(task_setup)})
    _watch(task_setup, monkeypatch, clock)
    assert _first(_trigger())["status"] == "found"
    assert clock.sleeps == [60.0, 120.0, 30.0, 30.0]
    assert 503 in [asked.status for asked in task_setup.fake.requests]


@pytest.mark.parametrize(("spec", "code"), [("status=401", "SourceAuthError"), ("status=404", "ConfigurationError")])
def test_a_trigger_says_why_it_gives_up(
    task_setup: TaskSetup, monkeypatch: pytest.MonkeyPatch, spec: str, code: str
) -> None:
    """What no retry mends is one request and one event with its code."""
    task_setup.misbehave(spec)
    _watch(task_setup, monkeypatch, ManualClock(NOON))
    payload = _first(_trigger())
    assert (payload["status"], payload["code"]) == ("failed", code)
    assert len(task_setup.fake.requests) == 1


def test_a_trigger_without_its_connection_gives_up(task_setup: TaskSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that is gone is an event, not a loop."""
    _watch(task_setup, monkeypatch, ManualClock(NOON))
    trigger = AuditLogActivityTrigger("gone", since=NOON)
    assert _first(trigger)["code"] == "ConfigurationError"


def test_a_trigger_works_over_a_socket(task_setup: TaskSetup) -> None:
    """With nothing in between, a trigger finds what a real server has."""
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
def test_a_trigger_survives_its_journey(trigger: BaseTrigger) -> None:
    """What a trigger writes down builds the same trigger again."""
    path, arguments = trigger.serialize()
    again = import_string(path)(**arguments)
    assert type(again) is type(trigger)
    assert again.serialize() == (path, arguments)


def test_a_settled_window_fires_at_once() -> None:
    """An instant in the past is no wait, one in the near future a short one."""
    assert _first(WindowSettledTrigger(NOON - timedelta(days=300))) == {"settled_at": "2026-01-06T12:00:00+00:00"}
    soon = datetime.now(UTC) + timedelta(seconds=0.2)
    _first(WindowSettledTrigger(soon))
    assert datetime.now(UTC) >= soon
