"""Tests that the event trigger continues after every failure, logs it, and loses no record."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncIterator, Awaitable
from datetime import timedelta
from typing import Any

import pytest
from airflow.triggers.shared_stream import AdvanceItem, AdvanceOutcome

from airflow_audit_provider.core.watch import new_records
from airflow_audit_provider.core.watch.new_records import WatchPosition
from airflow_audit_provider.pipelines import watch as pipeline
from airflow_audit_provider.testing.server import FakeServer
from airflow_audit_provider.triggers import shared_stream
from airflow_audit_provider.triggers.shared_stream import SharedPoll, SharedPollProducer
from tests.operators.task_setup import TaskSetup
from tests.operators.trigger_setup import (
    NOON,
    PATIENCE_SECONDS,
    StateStore,
    TriggerSetup,
    event_trigger,
    first_payloads,
    ids_of,
    shared_payloads,
    trigger_with_position,
)

pytestmark = pytest.mark.integration


class HoldingServer(FakeServer):
    """A fake server that has received a request, and answers it once the test allows it."""

    def __init__(self, task_setup: TaskSetup) -> None:
        super().__init__(task_setup.fake)
        self.is_asked = False
        self._may_answer = asyncio.Event()

    async def _turn(self, *arguments: Any) -> bool:
        self.is_asked = True
        await self._may_answer.wait()
        return await super()._turn(*arguments)

    def answer(self) -> None:
        """Answers from now on."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._may_answer.set)


def test_outage_and_refused_credential_delay_polls_and_lose_nothing(trigger_setup: TriggerSetup) -> None:
    """Waits longer after each failure, then reports every record in between."""
    trigger_setup.clock.at = {
        1: trigger_setup.misbehave("status=503"),
        2: lambda: trigger_setup.add("meanwhile", minutes_ago=0),
        3: trigger_setup.misbehave("status=401"),
        5: trigger_setup.misbehave(),
    }
    (payload,) = first_payloads(event_trigger())
    assert ids_of(payload) == ["meanwhile"]
    assert trigger_setup.clock.sleeps == [60.0, 120.0, 240.0, 480.0, 600.0]
    assert [asked.status for asked in trigger_setup.task_setup.fake.requests].count(401) == 2


def test_fixed_connection_is_read_at_next_poll(trigger_setup: TriggerSetup) -> None:
    """Reads a missing or invalid connection again at every poll after a failure."""
    trigger_setup.clock.at = {
        2: lambda: trigger_setup.task_setup.connect("late_conn"),
        3: lambda: trigger_setup.add("one"),
    }
    (payload,) = first_payloads(event_trigger(cloudflare_conn_id="late_conn"))
    assert ids_of(payload) == ["one"]


def test_unexpected_error_is_logged_and_polling_continues(
    trigger_setup: TriggerSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logs a defect as an error; Airflow would restart an ended watcher every two seconds."""
    broken = [ZeroDivisionError("?"), ZeroDivisionError("?")]
    original = pipeline.apoll_new_records

    def sometimes(*arguments: Any) -> Awaitable[Any]:
        if broken:
            raise broken.pop()
        return original(*arguments)

    monkeypatch.setattr(pipeline, "apoll_new_records", sometimes)
    trigger_setup.clock.at = {3: lambda: trigger_setup.add("one")}
    assert ids_of(first_payloads(event_trigger())[0]) == ["one"]
    assert trigger_setup.clock.sleeps == [120.0, 240.0, 60.0]


def test_failing_state_store_is_read_again(trigger_setup: TriggerSetup) -> None:
    """Retries reading the position with growing waits, since starting without it could lose records."""
    state, asked_at = StateStore(failures=3), list[float]()
    state.on_get = lambda: asked_at.append(trigger_setup.clock.monotonic())
    trigger_setup.clock.at = {1: lambda: trigger_setup.add("one", minutes_ago=0)}
    assert ids_of(first_payloads(event_trigger(state))[0]) == ["one"]
    assert asked_at == [0, 120, 360, 840]


def test_outage_during_catch_up_loses_nothing(trigger_setup: TriggerSetup) -> None:
    """Continues the catch-up after the outage and leaves no poll unfinished."""
    trigger = trigger_with_position(NOON - timedelta(hours=1))
    trigger_setup.add("while_away", minutes_ago=30)
    trigger_setup.clock.at = {1: trigger_setup.misbehave("status=503")}

    async def outage() -> list[list[dict[str, Any]]]:
        # Three times Airflow's time-out by the loop's clock; days by the scripted clock.
        asyncio.get_running_loop().call_later(0.9, trigger_setup.misbehave())
        asyncio.get_running_loop().call_later(1.2, trigger_setup.add, "one")
        return await shared_payloads([trigger], [2], patience_seconds=0.3)

    (payload,) = asyncio.run(outage())
    assert [ids_of(each) for each in payload] == [["while_away"], ["one"]]


def test_hanging_catch_up_is_cancelled_and_repeated(
    trigger_setup: TriggerSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancels a catch-up that takes too long and repeats it at a later poll."""
    position_at = NOON - timedelta(hours=1)
    trigger_setup.add("while_away", minutes_ago=30)
    original, hung = pipeline.apoll_new_records, list[WatchPosition]()

    async def hangs_once(query: Any, position: Any, *arguments: Any) -> Any:
        if position == WatchPosition.at(position_at) and not hung:
            hung.append(position)
            await asyncio.Event().wait()
        return await original(query, position, *arguments)

    monkeypatch.setattr(pipeline, "apoll_new_records", hangs_once)
    monkeypatch.setattr(shared_stream, "_CATCH_UP_SECONDS", 0.05, raising=False)
    assert ids_of(first_payloads(trigger_with_position(position_at))[0]) == ["while_away"]
    assert hung


def test_failed_poll_stores_no_position(trigger_setup: TriggerSetup) -> None:
    """A poll that failed for one watcher stores no position; the next one that succeeds for all does."""
    state = StateStore()
    kept: list[int] = []

    async def looks() -> AsyncIterator[SharedPoll]:
        producer, outcomes = SharedPollProducer(event_trigger().poll_forever), [(1, 1), (2, 0), (2, 0)]
        async for shared, payload in producer.open_stream():
            yield shared
            if not outcomes:
                return
            acked, failed = outcomes.pop(0)
            await producer.advance([AdvanceItem(payload, AdvanceOutcome(acked=acked, failed=failed))])
            kept.append(len(state.values))

    async def watch() -> None:
        async for _ in event_trigger(state).filter_shared_stream(looks()):
            raise AssertionError("there is nothing to tell")

    asyncio.run(watch())
    # The stored position of a poll is visible at the next one.
    assert kept == [0, 0, 1]


def test_invalid_stored_position_is_logged(trigger_setup: TriggerSetup, capsys: pytest.CaptureFixture[str]) -> None:
    """Starts anew if the stored value is not a position, and logs it."""
    state = StateStore()
    trigger = event_trigger(state)
    state.values[trigger._positions()._key] = {"floor_second": 1, "seen": "x"}
    trigger_setup.add("one")
    assert ids_of(first_payloads(trigger)[0]) == ["one"]
    assert "not a position" in capsys.readouterr().out


def test_shortened_lookback_is_logged_once(
    trigger_setup: TriggerSetup, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Logs once how late a record may arrive if the log is too busy for the whole lookback."""
    monkeypatch.setattr(new_records, "_MAX_SEEN_IDS", 2)
    for minutes_ago in (14, 10, 6, 5):
        trigger_setup.add(f"r{minutes_ago}", minutes_ago=minutes_ago)
    trigger_setup.clock.at = {3: lambda: trigger_setup.add("one")}
    assert len(first_payloads(event_trigger(), 2)) == 2
    assert capsys.readouterr().out.count("within 360 s after its event time") == 1


def test_trigger_cancelled_during_poll_ends_cleanly(task_setup: TaskSetup) -> None:
    """Ends at once during a request and leaves no task and no connection."""
    with HoldingServer(task_setup) as server:
        task_setup.connect(host=server.base_url)
        assert asyncio.run(_cancelled_during_poll(server)) == []
        # Only now: the cancelled trigger does not wait for the response.
        server.answer()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while server._talks and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not server._talks


async def _cancelled_during_poll(server: HoldingServer) -> list[Any]:
    """Cancels a trigger as the triggerer does once its request was received; returns the remaining tasks."""
    trigger = event_trigger(poll_interval_seconds=1)

    async def run() -> None:
        async for _ in trigger.run():
            raise AssertionError("no event was sent")

    running = asyncio.create_task(run())
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not server.is_asked:  # noqa: ASYNC110  # the fake runs in another thread, which cannot set an asyncio event
            await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await trigger.cleanup()
        await asyncio.get_running_loop().shutdown_asyncgens()
    return [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]


def test_position_is_stored_only_after_its_event(trigger_setup: TriggerSetup) -> None:
    """Stores no position past an event that Airflow has not stored, so a crash loses nothing."""
    state = StateStore()
    trigger_setup.clock.at = {count: functools.partial(trigger_setup.add, f"r{count}") for count in (1, 4, 8)}
    asyncio.run(shared_payloads([event_trigger(state)], [3], is_stored=False))
    kept = [WatchPosition.from_state(value) for value in state.values.values()]
    assert all(mark is not None and not mark.seen for mark in kept)
