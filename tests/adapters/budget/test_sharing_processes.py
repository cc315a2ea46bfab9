"""Processes that share one token under a server's limit: none is refused, and they go on after what fails.

The tests count requests and end when enough are answered: a busy machine only takes longer. Which share of a limit is
used is shown on a virtual clock by the tests of the budget, and measured by ``python -m bench.shared_budget``.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from math import inf
from pathlib import Path

import pytest

from airflow_audit_provider.core.api.rate_limiter import RateLimit
from bench.shared_budget import (
    TimedFake,
    await_answers,
    exceed_limit,
    seconds_with_block,
    share_token,
)
from tests.adapters.budget.redis_server import RunningRedis

LIMIT = RateLimit(20, 2)
# Within this time a machine that does much else answers what a test waits for.
PATIENCE_SECONDS = 300.0


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

    def fill_a_window(_processes: list[subprocess.Popen[bytes]], fake: TimedFake) -> None:
        await_answers(fake, 61, PATIENCE_SECONDS)
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        # Not in every window: a busy machine may not send so many in two seconds.
        while max(fake.windows()) < LIMIT.request_count and time.monotonic() < give_up_at:
            time.sleep(0.1)

    found = share_token(store, LIMIT, 2 * PATIENCE_SECONDS, sharer_count=3, meanwhile=fill_a_window)
    assert found.refused_count == 0
    assert max(found.by_window) == 20
    assert found.outages == []
    assert min(found.by_sharer) > 0


def test_server_of_these_tests_refuses_what_exceeds_its_limit() -> None:
    """A client that heeds no limit is refused as soon as it has used up the period of the server."""
    # Processes with a budget of their own each would not do: they detect each other, and are not always refused.
    fake = TimedFake(LIMIT, LIMIT.period_seconds)
    assert exceed_limit(fake, 0) >= LIMIT.request_count
    assert fake.seen[-1][1] == 429


@pytest.mark.integration
def test_killed_sharer_takes_nothing_from_the_others(store: str) -> None:
    """A process that is killed causes no refusal, and the others go on."""

    # That they have the whole limit again afterwards is shown on a virtual clock, by the tests of the budget.
    def kill_one(processes: list[subprocess.Popen[bytes]], fake: TimedFake) -> None:
        while len(fake.seen) < 45:
            time.sleep(0.01)
        processes[0].kill()
        await_answers(fake, 100, PATIENCE_SECONDS)

    found = share_token(store, LIMIT, PATIENCE_SECONDS, sharer_count=3, meanwhile=kill_one)
    assert found.refused_count == 0
    assert len(found.by_sharer) == 2
    # The killed process had used 45 requests at most; these are more than what was in flight when it died.
    assert sum(found.by_window) >= 100 > 45 + 3 * 4
    assert found.outages == []


@pytest.mark.integration
def test_restart_of_an_empty_server_leaves_the_limit_as_it_is(redis: RunningRedis) -> None:
    """A server that is stopped and started again, empty, between two windows leaves the limit as it is."""

    def restart(_processes: list[subprocess.Popen[bytes]], fake: TimedFake) -> None:
        while len(fake.seen) < 45:
            time.sleep(0.01)
        redis.stop()
        redis.start()
        await_answers(fake, 100, PATIENCE_SECONDS)

    address = f"redis:{redis.server.host}:{redis.server.port}"
    found = share_token(address, LIMIT, PATIENCE_SECONDS, sharer_count=3, meanwhile=restart)
    assert found.refused_count <= 3 * 4
    assert sum(found.by_window) >= 100


@pytest.mark.integration
def test_block_of_the_token_stops_all_processes(store: str) -> None:
    """After another client had the token blocked, few requests are refused, and all processes go on after the block."""

    def exceed(_processes: list[subprocess.Popen[bytes]], fake: TimedFake) -> None:
        exceed_limit(fake, 25)
        await_answers(fake, 70, PATIENCE_SECONDS)

    found = share_token(store, LIMIT, PATIENCE_SECONDS, sharer_count=3, meanwhile=exceed)
    # One refusal is the other client's own; those of the processes were in flight before the block was known.
    assert found.refused_count <= 1 + 3 * 4
    assert found.statuses[200] >= 70


@pytest.mark.nightly
@pytest.mark.parametrize("limit", [RateLimit(10, 1), RateLimit(1, 1), RateLimit(100, 10), RateLimit(300, 15)])
def test_eight_processes_are_never_refused_under_any_limit(store: str, limit: RateLimit) -> None:
    """Eight processes send three periods of requests without a refusal, and the store never fails."""
    count = max(20, 3 * limit.request_count)

    def await_all(_processes: list[subprocess.Popen[bytes]], fake: TimedFake) -> None:
        await_answers(fake, count, 2 * PATIENCE_SECONDS)

    found = share_token(store, limit, 2 * PATIENCE_SECONDS, meanwhile=await_all)
    assert found.refused_count == 0
    assert found.statuses[200] >= count
    assert found.outages == []


@pytest.mark.nightly
def test_eight_processes_go_on_after_a_block(store: str) -> None:
    """Five periods of requests are answered although the token is blocked after two of them."""
    seconds, found = seconds_with_block(store)
    assert seconds < inf
    # One refusal is the other client's own; those of the processes were in flight before the block was known.
    assert found.refused_count <= 1 + 8 * 4
    assert found.outages == []
