"""Deferred sensors of one triggerer share polls and clients; each gets only what it waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from airflow.triggers.base import TriggerEvent

from airflow_audit_provider.core.watch.activity import ActivityDemand
from airflow_audit_provider.exceptions import SourceAuthError
from airflow_audit_provider.testing.settings import TokenKind
from airflow_audit_provider.triggers import shared_activity
from airflow_audit_provider.triggers.audit_logs import AuditLogActivityTrigger
from airflow_audit_provider.triggers.shared_activity import SensorQuery, join_poll
from tests.operators.task_setup import TaskSetup
from tests.pipelines.pull.landing import record_at
from tests.sensors.stepped_polls import LATE, SINCE, SteppedClock, count_clients, settle, start, trigger

NEW_TOKEN = "token-after-the-rotation-0123456789"


@pytest.fixture
def clock() -> SteppedClock:
    """The clock of all hooks."""
    return SteppedClock()


@pytest.fixture
def opened(task_setup: TaskSetup, clock: SteppedClock, monkeypatch: pytest.MonkeyPatch) -> list[httpx.AsyncClient]:
    """Connects triggers to the fake; lists the clients that were opened."""
    return count_clients(task_setup.fake, clock, monkeypatch)


@pytest.fixture
def run(opened: list[httpx.AsyncClient]) -> Callable[[Awaitable[None]], None]:
    """Runs a test's coroutine; afterwards no poll and no open client is left."""

    def run(test: Awaitable[None]) -> None:
        async def whole() -> None:
            await asyncio.wait_for(test, 60)
            registry = shared_activity._registries[asyncio.get_running_loop()]
            assert (registry._polls, registry._connections) == ({}, {})
            assert all(client.is_closed for client in opened)

        asyncio.run(whole())

    return run


def add(task_setup: TaskSetup, when: str = "2026-11-02T11:30:00Z", record_id: str = "late-one") -> None:
    """Adds a record that the sensors wait for."""
    task_setup.fake.add(record_at(when, record_id))


def payloads(events: Iterable[TriggerEvent]) -> list[Any]:
    """Returns the payloads of events."""
    return [event.payload for event in events]


def test_unknown_category_is_refused_before_the_first_poll(
    task_setup: TaskSetup, run: Callable[[Awaitable[None]], None]
) -> None:
    """A deferred sensor fails with the nearest name, and requests the categories and no page of the log."""

    async def test() -> None:
        (event,) = await asyncio.gather(*start(trigger(api_version="v2", filters={"product_category": "zerotrst"})))
        assert (event.payload["status"], event.payload["code"]) == ("failed", "ConfigurationError")
        assert "Did you mean 'zerotrust'?" in event.payload["message"]
        assert {asked.path.rpartition("/")[2] for asked in task_setup.fake.requests} == {"product_categories"}

    run(test())


@pytest.mark.integration
def test_five_hundred_equal_sensors_poll_as_one(
    task_setup: TaskSetup, clock: SteppedClock, opened: list[httpx.AsyncClient], run: Callable[[Awaitable[None]], None]
) -> None:
    """Four polls of 500 sensors send six requests over one client, and all of the sensors find the record."""

    async def test() -> None:
        tasks = start(*(trigger() for _ in range(500)))
        await settle()
        await clock.step()
        await clock.step()
        add(task_setup)
        await clock.step()
        found = payloads(await asyncio.gather(*tasks))
        assert [(one["status"], one["activity"]["record_count"]) for one in found] == [("found", 1)] * 500

    run(test())
    assert len(opened) == 1
    # Three empty polls of one request each; one with a single record takes three, as the proof of its end does.
    assert len(task_setup.fake.requests) == 6


@pytest.mark.integration
def test_sensors_with_other_filters_share_the_client(
    task_setup: TaskSetup, clock: SteppedClock, opened: list[httpx.AsyncClient], run: Callable[[Awaitable[None]], None]
) -> None:
    """Each filter has a poll of its own; the connection is opened once, and serves the one that is left."""

    async def test() -> None:
        late, never = start(trigger(), trigger(filters={"action_type": "never"}))
        await settle()
        add(task_setup)
        await clock.step()
        assert (await late).payload["status"] == "found"
        await clock.step()
        assert not never.done()
        never.cancel()
        await asyncio.gather(never, return_exceptions=True)

    run(test())
    assert len(opened) == 1


@pytest.mark.integration
def test_sensor_that_joins_later_is_served_by_the_next_poll(
    task_setup: TaskSetup, clock: SteppedClock, opened: list[httpx.AsyncClient], run: Callable[[Awaitable[None]], None]
) -> None:
    """It waits until the running poll's pause is over, and its own watermark and count apply."""
    add(task_setup, "2026-11-02T11:10:00Z", "first")

    async def test() -> None:
        (early,) = start(trigger(minimum_count=2))
        await settle()
        late, later = start(trigger(SINCE + timedelta(minutes=20)), trigger(minimum_count=1))
        await settle()
        assert not later.done()
        await clock.step()
        assert (await later).payload["activity"]["record_count"] == 1
        assert not early.done()
        add(task_setup)
        await clock.step()
        found = payloads(await asyncio.gather(early, late))
        assert [one["activity"]["record_count"] for one in found] == [2, 1]
        assert found[1]["activity"]["first_event_at"] == "2026-11-02T11:30:00Z"

    run(test())
    assert len(opened) == 1


@pytest.mark.integration
def test_sensor_that_joins_during_a_poll_waits_for_the_next_one(
    task_setup: TaskSetup, clock: SteppedClock, run: Callable[[Awaitable[None]], None]
) -> None:
    """What the running poll reads is not what the new sensor asks for."""

    async def test() -> None:
        (early,) = start(trigger(minimum_count=2))
        # The first poll now waits for its client.
        for _ in range(5):
            await asyncio.sleep(0)
        (late,) = start(trigger())
        add(task_setup)
        await settle()
        assert not late.done()
        await clock.step()
        assert (await late).payload["activity"]["record_count"] == 1
        early.cancel()
        await asyncio.gather(early, return_exceptions=True)

    run(test())


def test_sensor_that_joins_a_failed_poll_starts_a_new_one(
    task_setup: TaskSetup, run: Callable[[Awaitable[None]], None]
) -> None:
    """A poll that has ended by an error serves nobody, also while its sensors have not left yet."""
    task_setup.misbehave("status=403")

    async def test() -> None:
        refused = trigger()
        query = SensorQuery(refused.cloudflare_conn_id, refused.query, refused.schedule)
        async with join_poll(query, ActivityDemand(SINCE)) as notices:
            assert isinstance((await anext(notices)).error, SourceAuthError)
            task_setup.misbehave()
            add(task_setup)
            (again,) = start(refused)
            assert (await again).payload["status"] == "found"

    run(test())


@pytest.mark.integration
def test_outage_is_logged_for_every_sensor_and_passes(
    task_setup: TaskSetup,
    clock: SteppedClock,
    opened: list[httpx.AsyncClient],
    run: Callable[[Awaitable[None]], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A retryable error ends no sensor; each logs it."""
    task_setup.connect(extra={"account_id": task_setup.fake.settings.account_ids[0], "max_attempts": 1})
    task_setup.misbehave("status=503")

    async def test() -> None:
        tasks = start(trigger(), trigger())
        await settle()
        task_setup.misbehave()
        add(task_setup)
        await clock.step()
        assert {one["status"] for one in payloads(await asyncio.gather(*tasks))} == {"found"}

    run(test())
    assert capsys.readouterr().out.count("The poll failed; next poll in 60 s") == 2


def test_refusal_ends_every_sensor_and_the_next_one_starts_anew(
    task_setup: TaskSetup, opened: list[httpx.AsyncClient], run: Callable[[Awaitable[None]], None]
) -> None:
    """An error that no retry can fix is sent to all; a sensor after it reads the connection again."""
    task_setup.misbehave("status=403")

    async def test() -> None:
        refused = payloads(await asyncio.gather(*start(trigger(), trigger())))
        assert [(one["status"], one["code"]) for one in refused] == [("failed", "SourceAuthError")] * 2
        task_setup.misbehave()
        add(task_setup)
        (again,) = start(trigger())
        assert (await again).payload["status"] == "found"

    run(test())
    assert len(opened) == 2


@pytest.mark.integration
def test_replaced_token_ends_no_sensor(
    task_setup: TaskSetup,
    clock: SteppedClock,
    opened: list[httpx.AsyncClient],
    run: Callable[[Awaitable[None]], None],
) -> None:
    """The poll reads a connection again that the API refuses after it has answered."""

    async def test() -> None:
        (task,) = start(trigger())
        await settle()
        tokens = task_setup.fake.settings.tokens
        assert isinstance(tokens, dict)
        tokens.clear()
        tokens[NEW_TOKEN] = TokenKind.VALID
        task_setup.connect(password=NEW_TOKEN)
        add(task_setup)
        await clock.step()
        assert (await task).payload["status"] == "found"

    run(test())
    assert len(opened) == 2


def test_sensor_whose_interval_grows_polls_alone(
    task_setup: TaskSetup, opened: list[httpx.AsyncClient], run: Callable[[Awaitable[None]], None]
) -> None:
    """With ``backs_off`` the pause depends on a sensor's own polls, so it shares the client only."""

    async def test() -> None:
        alone = [
            AuditLogActivityTrigger("cloudflare_default", SINCE, 1, 30.0, dict(LATE), backs_off=True) for _ in range(2)
        ]
        tasks = start(*alone)
        await settle()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    run(test())
    assert (len(opened), len(task_setup.fake.requests)) == (1, 2)
