"""Polls of deferred sensors on a clock whose sleeps end step by step, and the clients that they open."""

from __future__ import annotations

import asyncio
import functools
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from airflow.triggers.base import TriggerEvent

from airflow_audit_provider.hooks import cloudflare as hooks
from airflow_audit_provider.hooks.cloudflare import CloudflareHook
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.transport import FakeTransport
from airflow_audit_provider.triggers.audit_logs import AuditLogActivityTrigger

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
SINCE = NOON - timedelta(hours=1)
LATE = {"filters": {"action_type": "late"}}


class SteppedClock(ManualClock):
    """A clock whose sleeps end only when the test lets them."""

    def __init__(self) -> None:
        super().__init__(NOON)
        self.sleeping: list[asyncio.Future[None]] = []

    async def asleep(self, seconds: float) -> None:
        """Waits for :meth:`step`."""
        self.sleeping.append(asyncio.get_running_loop().create_future())
        await self.sleeping[-1]
        await super().asleep(seconds)

    async def step(self) -> None:
        """Ends every sleep, and waits until each loop sleeps again or has ended."""
        ended, self.sleeping = self.sleeping, []
        for future in ended:
            if not future.done():
                future.set_result(None)
        await settle()


async def settle() -> None:
    """Lets every task run until it waits for a sleep or a thread that opens a client."""
    for _ in range(20):
        await asyncio.sleep(0.005)


def count_clients(
    fake: FakeCloudflare, clock: SteppedClock, monkeypatch: pytest.MonkeyPatch
) -> list[httpx.AsyncClient]:
    """Connects triggers to a fake; returns the list to which each client is added that they open."""
    found: list[httpx.AsyncClient] = []

    class CountedHook(CloudflareHook):
        async def open_async_conn(self) -> httpx.AsyncClient:
            found.append(await super().open_async_conn())
            return found[-1]

    transport = FakeTransport(fake)
    monkeypatch.setattr(hooks, "CloudflareHook", functools.partial(CountedHook, transport=transport, clock=clock))
    return found


def trigger(since: datetime = SINCE, minimum_count: int = 1, **query: Any) -> AuditLogActivityTrigger:
    """Returns a deferred sensor that waits for the record that :func:`add` adds."""
    return AuditLogActivityTrigger("cloudflare_default", since, minimum_count, 30.0, {**LATE, **query})


def start(*triggers: AuditLogActivityTrigger) -> list[asyncio.Task[TriggerEvent]]:
    """Starts triggers as Airflow does, each in a task."""

    async def first(one: AuditLogActivityTrigger) -> TriggerEvent:
        (event,) = [event async for event in one.run()]
        return event

    return [asyncio.create_task(first(one)) for one in triggers]
