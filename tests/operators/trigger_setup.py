"""Setup for tests of event triggers: a scripted clock, a state store, and Airflow's own shared stream.

Invariant: time is the clock's; only Airflow's own time-outs run by the loop's clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.triggers.shared_stream import SharedStreamManager

from airflow_audit_provider.core.watch.new_records import WatchPosition
from airflow_audit_provider.hooks import cloudflare as hooks
from airflow_audit_provider.hooks.cloudflare import CloudflareHook
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.settings import ACCOUNT_ID, Settings
from airflow_audit_provider.testing.transport import FakeTransport
from airflow_audit_provider.triggers import audit_logs as triggers
from airflow_audit_provider.triggers.audit_logs import AuditLogActivityEventTrigger
from tests.operators.task_setup import TaskSetup
from tests.pipelines.pull.landing import record_at

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
LATE = {"action_type": "late"}
PATIENCE_SECONDS = 120.0


class ScriptedClock(ManualClock):
    """Manual clock that runs actions at given sleeps, and lets other tasks run while it sleeps."""

    def __init__(self) -> None:
        super().__init__(NOON)
        self.at: dict[int, Callable[[], object]] = {}

    async def asleep(self, seconds: float) -> None:
        """Sleeps, runs the action of this sleep, and lets other tasks run."""
        await super().asleep(seconds)
        self.at.get(len(self.sleeps), lambda: None)()
        for _ in range(20):
            await asyncio.sleep(0)


class StateStore:
    """Stands in for the state store that Airflow 3.3 gives a trigger; fails as often as requested."""

    def __init__(self, failures: int = 0) -> None:
        self.values: dict[str, Any] = {}
        self.failures = failures
        self.on_get: Callable[[], object] = lambda: None

    async def aget(self, key: str) -> Any:
        """Returns a value, or None."""
        self.on_get()
        self._fail_if_requested()
        return self.values.get(key)

    async def aset(self, key: str, value: Any) -> None:
        """Stores a value."""
        self._fail_if_requested()
        self.values[key] = value

    def _fail_if_requested(self) -> None:
        self.failures -= 1
        if self.failures >= 0:
            raise RuntimeError("the supervisor does not answer")


class TriggerSetup:
    """Connects triggers to the fake and the scripted clock."""

    def __init__(self, task_setup: TaskSetup, monkeypatch: pytest.MonkeyPatch) -> None:
        self.task_setup = task_setup
        self.clock = ScriptedClock()
        task_setup.connect(extra={"account_id": ACCOUNT_ID, "max_attempts": 1, "max_retry_seconds": 1})
        task_setup.fake = FakeCloudflare(self.clock.now, Settings(records_per_day=0))
        built = functools.partial(CloudflareHook, transport=FakeTransport(task_setup.fake), clock=self.clock)
        monkeypatch.setattr(hooks, "CloudflareHook", built)
        monkeypatch.setattr(triggers, "SystemClock", lambda: self.clock)

    def add(self, record_id: str, version: str = "v1", minutes_ago: float = 0.5) -> str:
        """Adds a record that happened some minutes ago; returns its id."""
        when = self.clock.now() - timedelta(minutes=minutes_ago)
        return self.task_setup.fake.add(record_at(when.isoformat(), record_id, version), version).id

    def misbehave(self, *specs: str) -> Callable[[], None]:
        """Returns a function that replaces the fake's misbehaviours."""
        return lambda: self.task_setup.misbehave(*specs)


def event_trigger(state: StateStore | None = None, **changes: Any) -> AuditLogActivityEventTrigger:
    found = AuditLogActivityEventTrigger(**{"filters": LATE, **changes})
    found.asset_state_store = state  # type: ignore[assignment]  # as much of it as is used
    return found


def trigger_with_position(position_at: datetime) -> AuditLogActivityEventTrigger:
    """Returns a trigger whose store has the position of an instant."""
    state = StateStore()
    found = event_trigger(state)
    state.values[found._positions()._key] = WatchPosition.at(position_at).to_state()
    return found


def ids_of(payload: dict[str, Any]) -> list[str]:
    return [each["id"] for each in payload["records"]]


async def until(events: AsyncIterator[Any], count: int) -> list[dict[str, Any]]:
    """Returns the payloads of the first events."""
    async with asyncio.timeout(PATIENCE_SECONDS), contextlib.aclosing(events):  # type: ignore[type-var]  # a generator
        found = []
        async for event in events:
            found.append(event.payload)
            if len(found) == count:
                break
    return found


def first_payloads(trigger: AuditLogActivityEventTrigger, count: int = 1) -> list[dict[str, Any]]:
    return asyncio.run(until(trigger.run(), count))


async def shared_payloads(
    watchers: list[AuditLogActivityEventTrigger],
    counts: list[int],
    *,
    is_stored: bool = True,
    patience_seconds: float = 300.0,
) -> list[list[dict[str, Any]]]:
    """Runs triggers as the triggerer does, storing each event at once or never."""
    streams = SharedStreamManager(ack_timeout=patience_seconds)

    async def watch(number: int, trigger: AuditLogActivityEventTrigger) -> list[dict[str, Any]]:
        key = trigger.shared_stream_key()
        found: list[dict[str, Any]] = []
        async for event in trigger.filter_shared_stream(streams.subscribe(trigger_id=number, trigger=trigger, key=key)):
            found.append(event.payload)
            seq = streams.bind_pending_event(trigger_id=number, key=key)
            if seq is not None and is_stored:
                streams.confirm_persisted([seq])
            if len(found) == counts[number]:
                return found
        raise AssertionError("the stream ended")

    async with asyncio.timeout(PATIENCE_SECONDS):
        reported = await asyncio.gather(*(watch(number, trigger) for number, trigger in enumerate(watchers)))
        await streams.stop_all()
    return list(reported)
