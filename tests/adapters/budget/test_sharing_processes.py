"""Processes that share one token under a server's limit: none is refused, and nothing of the limit is left unused."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_audit_provider.core.api.rate_limiter import RateLimit
from bench.shared_budget import (
    BLOCK_BOUND_SECONDS,
    BLOCK_LIMIT,
    TimedFake,
    exceed_limit,
    seconds_with_block,
    share_token,
)
from tests.adapters.budget.redis_server import RunningRedis


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RunningRedis]:
    """A running Redis server."""
    running = RunningRedis(tmp_path)
    running.start()
    yield running
    running.stop()


@pytest.fixture(params=["file", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Address of an empty store."""
    if request.param == "file":
        return f"file:{tmp_path}/budget"
    server = request.getfixturevalue("redis").server
    return f"redis:{server.host}:{server.port}"


@pytest.mark.integration
def test_three_processes_are_never_refused(store: str) -> None:
    """Three processes use up a limit of 20 requests in 2 seconds without a refusal, and each gets a part of it."""
    found = share_token(store, RateLimit(20, 2), 6.5, sharer_count=3)
    assert found.refused_count == 0
    # Not every window: a machine that is busy with other things may not send so many in two seconds.
    assert max(found.by_window) == 20
    assert found.outages == []
    assert min(found.by_sharer) > 0


@pytest.mark.integration
def test_processes_without_a_shared_budget_are_refused() -> None:
    """Without a shared budget, the same three processes exceed the limit: the server of this test does refuse."""
    assert share_token("none", RateLimit(20, 2), 3.0, sharer_count=3).refused_count > 0


@pytest.mark.integration
def test_killed_sharer_takes_nothing_from_the_others(store: str) -> None:
    """A process that is killed causes no refusal, and the others go on."""

    # That they have the whole limit again afterwards is shown on a virtual clock, by the tests of the budget.
    def kill_one(processes: list[subprocess.Popen[bytes]], fake: TimedFake) -> None:
        while len(fake.seen) < 45:
            time.sleep(0.01)
        processes[0].kill()

    found = share_token(store, RateLimit(20, 2), 10.0, sharer_count=3, meanwhile=kill_one)
    assert found.refused_count == 0
    assert len(found.by_sharer) == 2
    # The killed process had used 45 requests at most; these are more than what was in flight when it died.
    assert sum(found.by_window) > 45 + 3 * 4
    assert found.outages == []


@pytest.mark.integration
def test_restart_of_an_empty_server_leaves_the_limit_as_it_is(redis: RunningRedis) -> None:
    """A server that is stopped and started again, empty, between two windows leaves the limit as it is."""

    def restart(_processes: list[subprocess.Popen[bytes]], fake: TimedFake) -> None:
        while len(fake.seen) < 45:
            time.sleep(0.01)
        redis.stop()
        redis.start()

    address = f"redis:{redis.server.host}:{redis.server.port}"
    found = share_token(address, RateLimit(20, 2), 11.0, sharer_count=3, meanwhile=restart)
    assert found.refused_count <= 3 * 4
    assert sum(found.by_window) >= 60


@pytest.mark.integration
def test_block_of_the_token_stops_all_processes(store: str) -> None:
    """After another client had the token blocked, few requests are refused, and all processes go on after the block."""
    limit = RateLimit(20, 2)

    def exceed(_processes: list[subprocess.Popen[bytes]], fake: TimedFake) -> None:
        exceed_limit(fake, 25)

    found = share_token(store, limit, 9.0, sharer_count=3, meanwhile=exceed)
    # One refusal is the other client's own; those of the processes were in flight before the block was known.
    assert found.refused_count <= 1 + 3 * 4
    assert found.statuses[200] > 45


@pytest.mark.nightly
@pytest.mark.parametrize("limit", [RateLimit(10, 1), RateLimit(1, 1), RateLimit(100, 10), RateLimit(300, 15)])
def test_eight_processes_use_all_of_any_limit(store: str, limit: RateLimit) -> None:
    """Eight processes use at least 95 % of the allowed rate without a refusal."""
    found = share_token(store, limit, max(20.0, 4.5 * limit.period_seconds))
    assert found.refused_count == 0
    assert found.share >= 0.95


@pytest.mark.nightly
def test_block_delays_eight_processes_by_its_own_length_only(store: str) -> None:
    """Five periods of requests with a block after two of them take at most two periods more than the least time."""
    seconds, found = seconds_with_block(store)
    # A busy machine may leave a request of a period unsent, which then waits for the next one.
    assert seconds < BLOCK_BOUND_SECONDS + 2 * BLOCK_LIMIT.period_seconds
    # One refusal is the other client's own; those of the processes were in flight before the block was known.
    assert found.refused_count <= 1 + 8 * 4
    assert found.outages == []
