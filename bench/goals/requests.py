"""Counts requests of 500 deferred sensors, and of a large pull at the token's limit, on virtual clocks.

Invariant: no count depends on the speed of the machine.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from airflow_audit_provider.adapters.cloudflare.parallel import ParallelReader
from airflow_audit_provider.adapters.cloudflare.reader import AuditLogReader
from airflow_audit_provider.core.api.rate_limiter import RateLimit, RateLimiter
from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.core.api.retry import RetryLimits
from airflow_audit_provider.core.paging.read_request import ReadRequest
from airflow_audit_provider.core.paging.slicing import Slicer
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.in_process import DirectTransport
from tests.pipelines.pull.landing import END, START, fake_with, pull_spec

if TYPE_CHECKING:
    from tests.sensors.stepped_polls import SteppedClock

# 1,200 requests in 300 seconds, spread evenly.
TOKEN_LIMIT = RateLimit(4, 1)
CONCURRENCY = 4
# The triggers of the tests poll every 30 seconds.
POLLS_A_MINUTE = 2


class _InstantSlicer(Slicer):
    """A slicer for requests that take no time, because the clock advances only while a thread waits for the limit."""

    def note_throttling(self, delay_seconds: float, trip_seconds: float) -> None:  # noqa: ARG002 - signature of Slicer
        """Updates whether requests are throttled, by the delays alone: a round trip would have other threads' waits."""
        super().note_throttling(delay_seconds, 0.0)


class _ThrottledReader(ParallelReader):
    """A reader with such a slicer."""

    def __init__(self, reader: AuditLogReader, request: ReadRequest) -> None:
        super().__init__(reader, pull_spec().query, request, CONCURRENCY)
        self._slicer = _InstantSlicer(CONCURRENCY)


def count_pages(records: int) -> dict[str, Any]:
    """Returns the number of requests that read a day of so many records at the token's limit."""
    clock = ManualClock()
    fake = fake_with(clock, records_per_day=records, requests_per_window=None)
    reader = AuditLogReader(DirectTransport(fake, clock), clock, RateLimiter(TOKEN_LIMIT), RetryLimits())
    parallel_reader = _ThrottledReader(reader, ReadRequest(ApiVersion.V1, TimeWindow(START, END)))
    count = sum(len(found) for found in parallel_reader.read())
    if count != records:
        raise RuntimeError(f"{count:,} of {records:,} records were read.")
    return {"records": records, "requests": len(fake.requests)}


def count_polls(sensor_count: int, minutes: int) -> dict[str, Any]:
    """Returns the requests and clients of equal deferred sensors, none of which finds what it waits for."""
    import pytest

    import tests.airflow_fixtures  # noqa: F401 - sets the folder of Airflow before Airflow is imported
    from tests.operators.task_setup import TaskSetup
    from tests.sensors.stepped_polls import SteppedClock, count_clients

    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        fake, clock = TaskSetup(patch, Path(folder, "landed")).fake, SteppedClock()
        clients = count_clients(fake, clock, patch)
        asyncio.run(_poll(sensor_count, minutes, clock))
        return {
            "sensors": sensor_count,
            "minutes": minutes,
            "requests": len(fake.requests),
            "clients": len(clients),
        }


async def _poll(sensor_count: int, minutes: int, clock: SteppedClock) -> None:
    from tests.sensors.stepped_polls import settle, start, trigger

    tasks = start(*(trigger() for _ in range(sensor_count)))
    await settle()
    for _ in range(minutes * POLLS_A_MINUTE):
        await clock.step()
    if any(task.done() for task in tasks):
        raise RuntimeError("A sensor has ended although there is no record that it waits for.")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
