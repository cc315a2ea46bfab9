"""The rate limit is used up and never passed: on time, without a 429, whoever else uses the token."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

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
from tests.pipelines.pull.landing import START, land, landed_ids, order, true_ids
from tests.pipelines.pull.virtual_time import BEARER, Players, Task, Travel, VirtualTime

pytestmark = pytest.mark.integration

DEFAULT = RateLimit(1200, 300)
AT_ONCE, STEADY, UNEVEN = Travel(), Travel(0.05, 0.06), Travel(0.02, 0.4)
# Requests of the pull, the limit, and how an answer travels. Travel that varies by more than a fiftieth of a period
# has to be allowed for, so it comes with longer periods.
PULLS = [
    *[
        (limit, travel)
        for limit in (RateLimit(1, 1), RateLimit(4, 1), RateLimit(10, 1))
        for travel in (AT_ONCE, STEADY)
    ],
    *[(limit, travel) for limit in (RateLimit(20, 2), RateLimit(50, 10)) for travel in (AT_ONCE, STEADY)],
    *[(limit, travel) for limit in (RateLimit(100, 60), DEFAULT) for travel in (AT_ONCE, STEADY, UNEVEN)],
]


def _fake(time_: VirtualTime, limit: RateLimit, request_count: int) -> FakeCloudflare:
    """A fake with about so many pages of ten records, and this limit."""
    return FakeCloudflare(
        time_.now,
        Settings(
            records_per_day=8 * request_count,
            even_days=True,
            requests_per_window=limit.request_count,
            window_seconds=limit.period_seconds,
        ),
    )


def _scripts(budget: RateLimiter, count: int) -> list[FetchScript]:
    """The usual day in so many readings of ten records a page, all under one budget."""
    query, length = audit_query("v1", None, account_id=ACCOUNT_ID), timedelta(days=1) / count
    windows = [TimeWindow(START + length * place, START + length * (place + 1)) for place in range(count)]
    readings = [WindowReader(ReadRequest(ApiVersion.V1, window, Direction.ASC, 10)) for window in windows]
    return [fetch_script(reading, query, budget, RetryLimits(max_elapsed_seconds=1e9)) for reading in readings]


def _pull(players: Players, time_: VirtualTime, scripts: list[FetchScript], concurrency: int) -> None:
    """Play one reading alone, as a pull does to see the density, and then the others side by side."""
    players.play(scripts[:1], 1)
    time_.run()
    players.play(scripts[1:], concurrency)
    time_.run()


@pytest.mark.parametrize("concurrency", [1, 4, 16, 64])
@pytest.mark.parametrize(("limit", "travel"), PULLS)
def test_a_pull_takes_as_long_as_its_requests_are_allowed(limit: RateLimit, travel: Travel, concurrency: int) -> None:
    """Under R requests a second N of them take at most 1.05 N / R and a second, and none is refused."""
    time_ = VirtualTime()
    fake = _fake(time_, limit, request_count=2500 if limit == DEFAULT else 300)
    players = Players(time_, fake, travel)
    _pull(players, time_, _scripts(RateLimiter(), 40), concurrency)
    asked = len(fake.requests)
    assert asked > 2 * limit.request_count
    assert players.refused_count == 0
    assert players.ended_at_seconds <= 1.05 * asked * limit.period_seconds / limit.request_count + 1
    assert asked <= (players.ended_at_seconds // limit.period_seconds + 1) * limit.request_count


@pytest.mark.parametrize("concurrency", [1, 4, 16, 64])
@pytest.mark.parametrize("limit", [RateLimit(4, 1), RateLimit(10, 1), RateLimit(20, 2)])
def test_uneven_travel_draws_no_refusal(limit: RateLimit, concurrency: int) -> None:
    """Where answers take between a fiftieth and two fifths of a second, a limit by the second is kept all the same."""
    time_ = VirtualTime()
    fake = _fake(time_, limit, request_count=300)
    players = Players(time_, fake, UNEVEN)
    _pull(players, time_, _scripts(RateLimiter(), 40), concurrency)
    assert players.refused_count == 0


def test_a_lower_ceiling_is_kept() -> None:
    """A limit given by the user counts although the server would allow more."""
    time_ = VirtualTime()
    fake = _fake(time_, DEFAULT, request_count=100)
    players = Players(time_, fake, STEADY)
    _pull(players, time_, _scripts(RateLimiter(RateLimit(10, 10)), 10), 8)
    asked = len(fake.requests)
    assert asked - 20 <= players.ended_at_seconds <= 1.05 * asked + 1


def _somebody(time_: VirtualTime, fake: FakeCloudflare, every_seconds: float, statuses: list[int]) -> Task:
    """Another user of the token, who asks a thousand times and looks at no header."""
    for _ in range(1000):
        answer = fake.answer("GET", f"{BASE_PATH}/user/tokens/verify", (), BEARER)
        statuses.append(answer.status)
        yield every_seconds


# A pull with more requests under way uses the whole allowance up before it can notice so slow a neighbour.
@pytest.mark.parametrize(("every_seconds", "concurrency"), [(0.5, 1), (1.0, 1), (2.0, 1), (1.0, 4), (2.0, 4)])
def test_another_user_of_the_token_is_not_driven_into_a_refusal(every_seconds: float, concurrency: int) -> None:
    """Somebody who alone stays well below the limit is refused nothing, because the pull stops short of the end."""
    time_ = VirtualTime()
    fake = _fake(time_, DEFAULT, request_count=2500)
    players, statuses = Players(time_, fake, STEADY), list[int]()
    time_.start(_somebody(time_, fake, every_seconds, statuses))
    players.play(_scripts(RateLimiter(), 40), concurrency)
    time_.run()
    assert players.refused_count == 0
    assert set(statuses) == {200}


@pytest.mark.parametrize("concurrency", [1, 4, 8])
def test_two_tasks_share_a_token(concurrency: int) -> None:
    """Two pulls that know nothing of one another draw no refusal together, and finish nearly as fast as is allowed."""
    time_ = VirtualTime()
    fake = _fake(time_, DEFAULT, request_count=1500)
    both = [Players(time_, fake, STEADY) for _ in range(2)]
    for players in both:
        players.play(_scripts(RateLimiter(), 40), concurrency)
    time_.run()
    assert [players.refused_count for players in both] == [0, 0]
    assert max(players.ended_at_seconds for players in both) <= 1.1 * len(fake.requests) / 4 + 300


def test_a_limit_that_somebody_used_up_is_waited_out() -> None:
    """A pull that begins when nothing remains asks once, and goes on after the reset."""
    time_ = VirtualTime()
    fake = _fake(time_, DEFAULT, request_count=100)
    for _ in range(1199):
        fake.answer("GET", f"{BASE_PATH}/user/tokens/verify", (), BEARER)
    players = Players(time_, fake, STEADY)
    _pull(players, time_, _scripts(RateLimiter(), 10), 4)
    assert players.refused_count == 0
    assert 300 <= players.ended_at_seconds <= 310


class _MachineClock(SystemClock):
    """The machine's seconds on the calendar of the tests, whose records do not grow old."""

    def __init__(self) -> None:
        self._began = self.monotonic()

    def now(self) -> datetime:
        return DEFAULT_START + timedelta(seconds=self.monotonic() - self._began)


@pytest.mark.parametrize(("limit", "concurrency"), [(RateLimit(20, 1), 8), (RateLimit(60, 2), 4)])
def test_a_pull_over_real_sockets_draws_no_refusal(limit: RateLimit, concurrency: int, tmp_path: Path) -> None:
    """A whole pull from a real server lands the truth and draws no 429; how fast it is, virtual time shows above."""
    clock, store = _MachineClock(), LocalStore(str(tmp_path))
    count, period_seconds = limit
    chosen = Settings(
        records_per_day=9000,
        even_days=True,
        requests_per_window=count,
        window_seconds=period_seconds,
        block_seconds=1,
        latency_ms=10,
    )
    fake = FakeCloudflare(clock.now, chosen, [parse_switch("page_ceiling=100")])
    true_ids(fake)
    with FakeServer(fake) as server, open_client(Endpoint(Credentials(TOKEN), server.base_url)) as client:
        source = AuditLogReader(HttpTransport(client), clock, RateLimiter(), RetryLimits())
        land(order(concurrency=concurrency), source, store)
    statuses = [asked.status for asked in fake.requests]
    assert set(statuses) == {200}
    assert len(statuses) > 90
    assert landed_ids(order(), store) == true_ids(fake)
