"""Readers on a shared budget ask before each request, and settle every granted one, however reading ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError

import pytest

from airflow_audit_provider.adapters.cloudflare.reader import AsyncAuditLogReader, AuditLogReader
from airflow_audit_provider.core.api.query import audit_query
from airflow_audit_provider.core.api.rate_limiter import SentRequest
from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.core.api.retry import NO_RETRY, RetryLimits
from airflow_audit_provider.core.api.token_budget import Grant, Outcome, SharedRateLimiter, Ticket
from airflow_audit_provider.core.paging.read_request import ReadRequest
from airflow_audit_provider.core.paging.window_reader import SinglePageReader
from airflow_audit_provider.core.ports import Request, Response
from airflow_audit_provider.exceptions import ConfigurationError, SourceRateLimitedError, SourceUnavailableError
from airflow_audit_provider.testing.clock import ManualClock
from tests.core.paging.paginator_runs import window

_EMPTY = Response(200, {"ratelimit": '"default";r=7;t=30'}, b'{"success":true,"result":[]}')
_QUERY = audit_query("v1", "user")


class Budget:
    """Grants after the given delays, None for an outage, and keeps what was asked and settled."""

    def __init__(self, *delays: float | None) -> None:
        self.delays = list(delays)
        self.asked: list[Ticket | None] = []
        self.settled: list[tuple[Grant, Outcome]] = []
        self.threads: set[int] = set()

    def reserve(self, ticket: Ticket | None) -> Grant | None:
        """Grants at once when the delays are used up."""
        self.threads.add(threading.get_ident())
        self.asked.append(ticket)
        delay = self.delays.pop(0) if self.delays else 0.0
        if delay is None:
            return None
        place = Ticket(1, len(self.asked))
        return Grant(place, delay) if delay else Grant(place, sent=SentRequest(float(len(self.asked)), 0))

    def settle(self, grant: Grant, outcome: Outcome) -> None:
        """Keeps what was settled."""
        self.threads.add(threading.get_ident())
        self.settled.append((grant, outcome))


class Transport:
    """Gives the same answer, or raises it, and calls ``meanwhile`` first."""

    def __init__(self, answer: Response | Exception = _EMPTY, meanwhile: Callable[[], None] | None = None) -> None:
        self.answer = answer
        self.meanwhile = meanwhile

    def send(self, request: Request) -> Response:
        """Answers a request."""
        if self.meanwhile is not None:
            self.meanwhile()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class AsyncTransport(Transport):
    """The same for an event loop."""

    async def send(self, request: Request) -> Response:  # type: ignore[override]  # awaited by the async reader
        """Answers a request."""
        return super().send(request)


def _page() -> SinglePageReader:
    return SinglePageReader(ReadRequest(ApiVersion.V1, window(0, 30)))


def _read(
    budget: Budget, transport: Transport, clock: ManualClock | None = None, limits: RetryLimits = NO_RETRY
) -> AuditLogReader:
    reader = AuditLogReader(transport, clock or ManualClock(), SharedRateLimiter(None, budget), limits)
    list(reader.read(_QUERY, _page()))
    return reader


def test_request_is_sent_when_the_budget_grants_it() -> None:
    """A reader waits as long as the budget says, keeps its place meanwhile, and reports the response."""
    budget, clock = Budget(4.0, 2.0), ManualClock()
    began = clock.monotonic()
    _read(budget, Transport(), clock)
    assert clock.monotonic() - began == pytest.approx(6.0)
    assert budget.asked == [None, Ticket(1, 1), Ticket(1, 2)]
    ((grant, outcome),) = budget.settled
    assert (grant.ticket, outcome.headers, outcome.blocked_seconds) == (Ticket(1, 3), _EMPTY.headers, 0.0)


def test_outage_of_the_budget_leaves_the_own_limiter() -> None:
    """Without the budget a request is sent at once if the own limiter allows it, and nothing is settled."""
    budget = Budget(None)
    _read(budget, Transport())
    assert (budget.asked, budget.settled) == ([None], [])


def test_refusal_blocks_the_budget_for_the_stated_time() -> None:
    """A 429 reports its Retry-After, without the random part that spreads this reader's own retry."""
    budget = Budget()
    with pytest.raises(SourceRateLimitedError):
        _read(budget, Transport(Response(429, {"retry-after": "123"}, b"")))
    assert [outcome.blocked_seconds for _, outcome in budget.settled] == [123.0]


def test_refusal_without_a_time_blocks_for_five_minutes() -> None:
    """A 429 that states no time blocks the budget as long as Cloudflare documents."""
    budget = Budget()
    with pytest.raises(SourceRateLimitedError):
        _read(budget, Transport(Response(429, {}, b"")))
    assert [outcome.blocked_seconds for _, outcome in budget.settled] == [300.0]


@pytest.mark.parametrize("error", [SourceUnavailableError("Cut. Try again."), ConfigurationError("No. Correct it.")])
def test_request_without_a_response_is_settled_as_lost(error: Exception) -> None:
    """A request that ends in an error of the network or of the set-up is settled without headers."""
    budget = Budget()
    with pytest.raises(type(error)):
        _read(budget, Transport(error))
    assert [outcome.headers for _, outcome in budget.settled] == [None]


def test_cancelled_read_settles_its_request() -> None:
    """A read that is cancelled while its request is in flight settles it."""
    budget, transport = Budget(), Transport()
    reader = AuditLogReader(transport, ManualClock(), SharedRateLimiter(None, budget), NO_RETRY)
    transport.meanwhile = reader.cancel
    with pytest.raises(CancelledError):
        list(reader.read(_QUERY, _page()))
    assert len(budget.settled) == 1


async def _aread(reader: AsyncAuditLogReader) -> None:
    async for _ in reader.read(_QUERY, _page()):
        pass


def test_event_loop_never_waits_for_the_budget() -> None:
    """In an event loop, the budget is asked in another thread, and otherwise as by a blocking reader."""
    budget = Budget(3.0)
    asyncio.run(_aread(AsyncAuditLogReader(AsyncTransport(), ManualClock(), SharedRateLimiter(None, budget), NO_RETRY)))
    assert len(budget.asked) == 2
    assert [outcome.headers for _, outcome in budget.settled] == [_EMPTY.headers]
    assert threading.get_ident() not in budget.threads


def test_cancelled_task_settles_its_request() -> None:
    """A task of an event loop that is cancelled while its request is in flight settles it."""
    budget, sent = Budget(), asyncio.Event()

    class Hanging(AsyncTransport):
        async def send(self, request: Request) -> Response:  # type: ignore[override]  # awaited by the async reader
            sent.set()
            await asyncio.Event().wait()
            raise AssertionError

    async def cancelled() -> None:
        reader = AsyncAuditLogReader(Hanging(), ManualClock(), SharedRateLimiter(None, budget), NO_RETRY)
        task = asyncio.create_task(_aread(reader))
        await sent.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert [outcome.headers for _, outcome in budget.settled] == [None]
