"""Drivers of the fetch script: read an audit log over a blocking transport or in an event loop.

Invariant: both drivers perform the same script (``core.paging.fetch``), so neither can behave differently.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import CancelledError
from datetime import datetime

from airflow_audit_provider.core.api.query import AuditQuery
from airflow_audit_provider.core.api.rate_limiter import RateLimit, RateLimiter
from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.core.api.responses import server_time
from airflow_audit_provider.core.api.retry import RetryLimits
from airflow_audit_provider.core.api.token_budget import Grant, Outcome, SharedRateLimiter
from airflow_audit_provider.core.paging.fetch import (
    Deliver,
    FetchScript,
    Reserve,
    Send,
    Settle,
    Step,
    StepResult,
    StepTime,
    Wait,
    fetch_script,
)
from airflow_audit_provider.core.paging.window_reader import SinglePageReader, WindowReader
from airflow_audit_provider.core.ports import AsyncTransport, Clock, Request, Response, Transport
from airflow_audit_provider.exceptions import ConfigurationError, SourceUnavailableError

# A waiting thread checks this often whether it was cancelled, so that it ends soon after the pull it reads for.
_CANCEL_CHECK_SECONDS = 2.0

StepCallback = Callable[[Send | Wait], None]


def _ignore_step(_step: Send | Wait) -> None:
    """Does nothing with a step."""


class AuditLogReader:
    """Reads audit logs over a blocking transport; all reads, in any number of threads, share one rate limiter.

    ``on_step`` is called before every request, and before every wait longer than zero seconds with the error that
    caused it. It is called in the reading thread, so possibly in several at once. Errors name ``connection``.
    ``first_response_at`` is the API's own time of the first response, None before it.
    """

    def __init__(
        self,
        transport: Transport,
        clock: Clock,
        rate_limiter: RateLimiter,
        retry_limits: RetryLimits,
        on_step: StepCallback = _ignore_step,
        connection: str | None = None,
    ) -> None:
        self.clock = clock
        self.first_response_at: datetime | None = None
        self._transport = transport
        self._rate_limiter = rate_limiter
        self._retry_limits = retry_limits
        self._on_step = on_step
        self._connection = connection
        # The threads share the rate limiter, so their scripts advance one at a time. That costs no parallelism: Python
        # runs one thread's code at a time anyway, and requests are sent outside the lock.
        self._script_lock = threading.Lock()
        self._is_cancelled = threading.Event()

    @property
    def limit(self) -> RateLimit:
        """The rate limit that decides how long many requests take, as the connection or the last response states it."""
        return self._rate_limiter.slowest_limit

    def cancel(self) -> None:
        """Ends all reads at their next step, in every thread, and prevents new ones; it cannot be undone."""
        self._is_cancelled.set()

    def read(
        self, query: AuditQuery, reader: WindowReader | SinglePageReader, stop: threading.Event | None = None
    ) -> Iterator[list[AuditRecord]]:
        """Yields complete, sorted records, one paginator's at a time; raises what ``fetch_script`` raises.

        Raises ``CancelledError`` at the next step once another thread sets ``stop``, or after :meth:`cancel`.
        """
        script = fetch_script(reader, query, self._rate_limiter, self._retry_limits, self._connection)
        step: Step | None = next(script, None)
        grant: Grant | None = None
        try:
            while step is not None:
                if self._should_stop(stop):
                    raise CancelledError
                if isinstance(step, Deliver):
                    yield step.records
                result = self._perform(step, stop)
                grant = _grant_after(step, result, grant)
                with self._script_lock:
                    step = _next_step(script, result)
        finally:
            if grant is not None:
                self._settle(Settle(grant, Outcome(self.clock.monotonic())))

    def pause(self, seconds: float) -> None:
        """Waits; raises ``CancelledError`` if reading is cancelled meanwhile."""
        self._wait(seconds, None)
        if self._should_stop(None):
            raise CancelledError

    def _perform(self, step: Step, stop: threading.Event | None) -> StepResult:
        response = grant = None
        if isinstance(step, Send):
            self._on_step(step)
            response = self._send(step.request)
        elif isinstance(step, Wait) and step.seconds > 0:
            self._on_step(step)
            self._wait(step.seconds, stop)
        elif isinstance(step, Reserve) and isinstance(self._rate_limiter, SharedRateLimiter):
            grant = self._rate_limiter.budget.reserve(step.ticket)
        elif isinstance(step, Settle):
            self._settle(step)
        return StepResult(_step_time(self.clock), response, grant)

    def _settle(self, step: Settle) -> None:
        if isinstance(self._rate_limiter, SharedRateLimiter):
            self._rate_limiter.budget.settle(step.grant, step.outcome)

    def _wait(self, seconds: float, stop: threading.Event | None) -> None:
        """Waits, and checks every two seconds whether to stop."""
        while seconds > 0 and not self._should_stop(stop):
            self.clock.sleep(min(_CANCEL_CHECK_SECONDS, seconds))
            seconds -= _CANCEL_CHECK_SECONDS

    def _should_stop(self, stop: threading.Event | None) -> bool:
        return self._is_cancelled.is_set() or (stop is not None and stop.is_set())

    def _send(self, request: Request) -> Response | SourceUnavailableError:
        try:
            response = self._transport.send(request)
        except SourceUnavailableError as error:
            return error
        except ConfigurationError as error:
            error.connection = self._connection
            raise
        if self.first_response_at is None:
            self.first_response_at = server_time(response.headers)
        return response


class AsyncAuditLogReader:
    """Reads audit logs in an event loop; otherwise the same as :class:`AuditLogReader`."""

    def __init__(
        self,
        transport: AsyncTransport,
        clock: Clock,
        rate_limiter: RateLimiter,
        retry_limits: RetryLimits,
        on_step: StepCallback = _ignore_step,
        connection: str | None = None,
    ) -> None:
        self.clock = clock
        self._transport = transport
        self._rate_limiter = rate_limiter
        self._retry_limits = retry_limits
        self._on_step = on_step
        self._connection = connection

    async def read(
        self, query: AuditQuery, reader: WindowReader | SinglePageReader
    ) -> AsyncIterator[list[AuditRecord]]:
        """Yields complete, sorted records, one paginator's at a time; raises what ``fetch_script`` raises."""
        script = fetch_script(reader, query, self._rate_limiter, self._retry_limits, self._connection)
        step: Step | None = next(script, None)
        grant: Grant | None = None
        try:
            while step is not None:
                if isinstance(step, Deliver):
                    yield step.records
                result = await self._perform(step)
                grant = _grant_after(step, result, grant)
                step = _next_step(script, result)
        finally:
            if grant is not None:
                await self._settle(Settle(grant, Outcome(self.clock.monotonic())))

    async def _perform(self, step: Step) -> StepResult:
        response = grant = None
        if isinstance(step, Send):
            self._on_step(step)
            response = await self._send(step.request)
        elif isinstance(step, Wait) and step.seconds > 0:
            self._on_step(step)
            await self.clock.asleep(step.seconds)
        elif isinstance(step, Reserve) and isinstance(self._rate_limiter, SharedRateLimiter):
            # The budget's file lock or server may take time, which must not block the loop.
            grant = await asyncio.to_thread(self._rate_limiter.budget.reserve, step.ticket)
        elif isinstance(step, Settle):
            await self._settle(step)
        return StepResult(_step_time(self.clock), response, grant)

    async def _settle(self, step: Settle) -> None:
        if isinstance(self._rate_limiter, SharedRateLimiter):
            await asyncio.to_thread(self._rate_limiter.budget.settle, step.grant, step.outcome)

    async def _send(self, request: Request) -> Response | SourceUnavailableError:
        try:
            return await self._transport.send(request)
        except SourceUnavailableError as error:
            return error
        except ConfigurationError as error:
            error.connection = self._connection
            raise


def _next_step(script: FetchScript, result: StepResult) -> Step | None:
    """Reports a result to the script; returns its next step, None at its end."""
    try:
        return script.send(result)
    except StopIteration:
        return None


def _grant_after(step: Step, result: StepResult, grant: Grant | None) -> Grant | None:
    """Returns the grant that has to be settled if reading ends after this step."""
    if isinstance(step, Reserve):
        return result.grant if result.grant is not None and result.grant.sent is not None else None
    return None if isinstance(step, Settle) else grant


def _step_time(clock: Clock) -> StepTime:
    return StepTime(clock.now(), clock.monotonic(), clock.jitter())
