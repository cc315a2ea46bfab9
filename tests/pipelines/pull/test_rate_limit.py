"""Pulls use up the rate limit without exceeding it, also if other clients use the token."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_audit_provider.adapters.clock import SystemClock
from airflow_audit_provider.adapters.cloudflare.http import Credentials, Endpoint, HttpTransport, open_client
from airflow_audit_provider.adapters.cloudflare.reader import AuditLogReader
from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.core.api.query import Direction, audit_query
from airflow_audit_provider.core.api.rate_limiter import RateLimit, RateLimiter
from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.core.api.retry import RetryLimits
from airflow_audit_provider.core.paging.fetch import FetchScript, fetch_script
from airflow_audit_provider.core.paging.read_request import ReadRequest
from airflow_audit_provider.core.paging.window_reader import WindowReader
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.testing.clock import DEFAULT_START
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.misbehaviour import parse_switch
from airflow_audit_provider.testing.routes import BASE_PATH
from airflow_audit_provider.testing.server import FakeServer
from airflow_audit_provider.testing.settings import ACCOUNT_ID, TOKEN, Settings
from tests.pipelines.pull.landing import START, land, landed_ids, pull_spec, true_ids
from tests.pipelines.pull.virtual_time import BEARER, Latency, ReaderPool, Task, VirtualTime

pytestmark = pytest.mark.integration

DEFAULT = RateLimit(1200, 300)
AT_ONCE, STEADY, UNEVEN = Latency(), Latency(0.05, 0.06), Latency(0.02, 0.4)
# Limits and latencies. A latency that varies by more than a fiftieth of a period slows a pull down, so it comes with
# longer periods.
CONCURRENCIES = (1, 4, 16, 64)
PULLS = [
    *[
        (limit, latency)
        for limit in (RateLimit(1, 1), RateLimit(4, 1), RateLimit(10, 1))
        for latency in (AT_ONCE, STEADY)
    ],
    *[(limit, latency) for limit in (RateLimit(20, 2), RateLimit(50, 10)) for latency in (AT_ONCE, STEADY)],
    *[(limit, latency) for limit in (RateLimit(100, 60), DEFAULT) for latency in (AT_ONCE, STEADY, UNEVEN)],
]


def _fake(time_: VirtualTime, limit: RateLimit, request_count: int) -> FakeCloudflare:
    """Returns a fake with about this many pages of ten records, and this limit."""
    return FakeCloudflare(
        time_.now,
        Settings(
            records_per_day=8 * request_count,
            even_days=True,
            requests_per_window=limit.request_count,
            window_seconds=limit.period_seconds,
        ),
    )


def _scripts(rate_limiter: RateLimiter, count: int) -> list[FetchScript]:
    """Returns scripts for slices of the usual day, ten records a page, with one rate limiter."""
    query, length = audit_query("v1", None, account_id=ACCOUNT_ID), timedelta(days=1) / count
    windows = [TimeWindow(START + length * place, START + length * (place + 1)) for place in range(count)]
    window_readers = [WindowReader(ReadRequest(ApiVersion.V1, window, Direction.ASC, 10)) for window in windows]
    return [
        fetch_script(window_reader, query, rate_limiter, RetryLimits(max_elapsed_seconds=1e9))
        for window_reader in window_readers
    ]


def _pull(pool: ReaderPool, time_: VirtualTime, scripts: list[FetchScript], concurrency: int) -> None:
    """Drives the first script alone, as a pull does to measure the density, then the others in parallel."""
    pool.start_workers(scripts[:1], 1)
    time_.run()
    pool.start_workers(scripts[1:], concurrency)
    time_.run()


def _pulls() -> list[Any]:
    """Returns each limit, latency and concurrency: before a merge each pair of a limit and a latency runs once."""
    return [
        pytest.param(limit, latency, concurrency, marks=[pytest.mark.nightly] if place % 4 != row % 4 else [])
        for row, (limit, latency) in enumerate(PULLS)
        for place, concurrency in enumerate(CONCURRENCIES)
    ]


@pytest.mark.parametrize(("limit", "latency", "concurrency"), _pulls())
def test_pull_takes_as_long_as_its_requests_are_allowed(limit: RateLimit, latency: Latency, concurrency: int) -> None:
    """With R requests a second allowed, N requests take at most 1.05 N / R + 1 seconds, and none gets a 429."""
    time_ = VirtualTime()
    fake = _fake(time_, limit, request_count=2500 if limit == DEFAULT else 300)
    pool = ReaderPool(time_, fake, latency)
    _pull(pool, time_, _scripts(RateLimiter(), 40), concurrency)
    request_count = len(fake.requests)
    assert request_count > 2 * limit.request_count
    assert pool.refused_count == 0
    assert pool.ended_at_seconds <= 1.05 * request_count * limit.period_seconds / limit.request_count + 1
    assert request_count <= (pool.ended_at_seconds // limit.period_seconds + 1) * limit.request_count


@pytest.mark.parametrize("concurrency", CONCURRENCIES)
@pytest.mark.parametrize("limit", [RateLimit(4, 1), RateLimit(10, 1), RateLimit(20, 2)])
def test_uneven_latency_causes_no_429(limit: RateLimit, concurrency: int) -> None:
    """With latencies from 0.02 to 0.4 seconds a limit by the second is still not exceeded."""
    time_ = VirtualTime()
    fake = _fake(time_, limit, request_count=300)
    pool = ReaderPool(time_, fake, UNEVEN)
    _pull(pool, time_, _scripts(RateLimiter(), 40), concurrency)
    assert pool.refused_count == 0


def test_lower_limit_of_the_user_is_kept() -> None:
    """A limit given by the user is kept although the server would allow more."""
    time_ = VirtualTime()
    fake = _fake(time_, DEFAULT, request_count=100)
    pool = ReaderPool(time_, fake, STEADY)
    _pull(pool, time_, _scripts(RateLimiter(RateLimit(10, 10)), 10), 8)
    request_count = len(fake.requests)
    assert request_count - 20 <= pool.ended_at_seconds <= 1.05 * request_count + 1


def _other_client(time_: VirtualTime, fake: FakeCloudflare, every_seconds: float, statuses: list[int]) -> Task:
    """Sends a thousand requests as another client of the token that ignores headers."""
    for _ in range(1000):
        response = fake.answer("GET", f"{BASE_PATH}/user/tokens/verify", (), BEARER)
        statuses.append(response.status)
        yield every_seconds


# With a higher concurrency the pull uses up the limit before it can detect so slow a client.
@pytest.mark.parametrize(
    ("every_seconds", "concurrency"),
    [(0.5, 1), (1.0, 4), *[pytest.param(*pair, marks=pytest.mark.nightly) for pair in [(1.0, 1), (2.0, 1), (2.0, 4)]]],
)
def test_other_client_of_the_token_gets_no_429(every_seconds: float, concurrency: int) -> None:
    """Another client that stays well below the limit gets no 429, because the pull leaves a reserve."""
    time_ = VirtualTime()
    fake = _fake(time_, DEFAULT, request_count=2500)
    pool, statuses = ReaderPool(time_, fake, STEADY), list[int]()
    time_.start(_other_client(time_, fake, every_seconds, statuses))
    pool.start_workers(_scripts(RateLimiter(), 40), concurrency)
    time_.run()
    assert pool.refused_count == 0
    assert set(statuses) == {200}


@pytest.mark.parametrize("concurrency", [1, 4, 8])
def test_two_pulls_with_one_token_get_no_429(concurrency: int) -> None:
    """Two independent pulls with one token get no 429 and take nearly the shortest time allowed."""
    time_ = VirtualTime()
    fake = _fake(time_, DEFAULT, request_count=1500)
    pools = [ReaderPool(time_, fake, STEADY) for _ in range(2)]
    for pool in pools:
        pool.start_workers(_scripts(RateLimiter(), 40), concurrency)
    time_.run()
    assert [pool.refused_count for pool in pools] == [0, 0]
    assert max(pool.ended_at_seconds for pool in pools) <= 1.1 * len(fake.requests) / 4 + 300


def test_used_up_limit_is_waited_for() -> None:
    """A pull that starts when no requests remain sends one request and continues after the reset."""
    time_ = VirtualTime()
    fake = _fake(time_, DEFAULT, request_count=100)
    for _ in range(1199):
        fake.answer("GET", f"{BASE_PATH}/user/tokens/verify", (), BEARER)
    pool = ReaderPool(time_, fake, STEADY)
    _pull(pool, time_, _scripts(RateLimiter(), 10), 4)
    assert pool.refused_count == 0
    assert 300 <= pool.ended_at_seconds <= 310


class _MachineClock(SystemClock):
    """Clock that runs with the machine's time but starts at the date of the tests."""

    def __init__(self) -> None:
        self._began = self.monotonic()

    def now(self) -> datetime:
        return DEFAULT_START + timedelta(seconds=self.monotonic() - self._began)


@pytest.mark.parametrize(("limit", "concurrency"), [(RateLimit(20, 1), 8), (RateLimit(60, 2), 4)])
def test_pull_over_sockets_gets_no_429(limit: RateLimit, concurrency: int, tmp_path: Path) -> None:
    """A pull from a real server lands every record and gets no 429."""
    clock, store = _MachineClock(), LocalStore(str(tmp_path))
    count, period_seconds = limit
    settings = Settings(
        records_per_day=9000,
        even_days=True,
        requests_per_window=count,
        window_seconds=period_seconds,
        block_seconds=1,
        latency_ms=10,
    )
    fake = FakeCloudflare(clock.now, settings, [parse_switch("page_ceiling=100")])
    true_ids(fake)
    with FakeServer(fake) as server, open_client(Endpoint(Credentials(TOKEN), server.base_url)) as client:
        reader = AuditLogReader(HttpTransport(client), clock, RateLimiter(), RetryLimits())
        land(pull_spec(concurrency=concurrency), reader, store)
    statuses = [request.status for request in fake.requests]
    assert set(statuses) == {200}
    assert len(statuses) > 90
    assert landed_ids(pull_spec(), store) == true_ids(fake)
