"""Players of the conversation with the API: one blocking, one for an event loop.

Knows: how to perform a step. Must not know: which step comes next (``core.exchange``).
Its one rule: both players perform the same script, so nothing can be true of one and not of the other.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import CancelledError
from datetime import datetime

from airflow_audit_provider.core.api.query import AuditQuery
from airflow_audit_provider.core.api.rate_limiter import RateLimiter
from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.core.api.responses import answered_at
from airflow_audit_provider.core.api.retry import RetryLimits
from airflow_audit_provider.core.paging.fetch import (
    Deliver,
    FetchScript,
    Send,
    Step,
    StepResult,
    StepTime,
    Wait,
    fetch_script,
)
from airflow_audit_provider.core.paging.window_reader import SinglePageReader, WindowReader
from airflow_audit_provider.core.ports import AsyncTransport, Clock, Request, Response, Transport
from airflow_audit_provider.exceptions import SourceUnavailableError

# How long a thread may go on waiting after the pull it works for has failed.
_LONGEST_NAP_SECONDS = 2.0

Observer = Callable[[Send | Wait], None]


def _ignore(_step: Send | Wait) -> None:
    """Observe nothing."""


class AuditLogReader:
    """Reads audit logs over a blocking transport; one rate budget for all its readings, in however many threads.

    ``observe`` is told of every request before it goes, and of every wait of more than no time with the failure behind
    it; in the thread that reads, so perhaps in several at once. ``first_answer_at`` is the API's own time of the first
    answer, None before one.
    """

    def __init__(
        self,
        transport: Transport,
        clock: Clock,
        budget: RateLimiter,
        policy: RetryLimits,
        observe: Observer = _ignore,
    ) -> None:
        self.clock = clock
        self.first_answer_at: datetime | None = None
        self._transport = transport
        self._budget = budget
        self._policy = policy
        self._observe = observe
        # Decisions of all threads are taken one at a time: they share the budget, and Python runs one anyway.
        self._deciding = threading.Lock()
        self._is_broken_off = threading.Event()

    def cancel(self) -> None:
        """End all readings under way, in every thread, at their next step, and let none begin; for good."""
        self._is_broken_off.set()

    def read(
        self, query: AuditQuery, reading: WindowReader | SinglePageReader, stop: threading.Event | None = None
    ) -> Iterator[list[AuditRecord]]:
        """Yield complete, sorted records, a walk at a time; raises what ``fetch_script`` raises.

        With ``stop`` set by another thread, or after :meth:`break_off`, the reading is broken off at its next step by
        ``CancelledError``.
        """
        script = fetch_script(reading, query, self._budget, self._policy)
        step: Step | None = next(script, None)
        while step is not None:
            if self._is_stopped(stop):
                raise CancelledError
            if isinstance(step, Deliver):
                yield step.records
            outcome = self._perform(step, stop)
            with self._deciding:
                step = _reply(script, outcome)

    def _perform(self, step: Step, stop: threading.Event | None) -> StepResult:
        answer = None
        if isinstance(step, Send):
            self._observe(step)
            answer = self._answer(step.request)
        elif isinstance(step, Wait) and step.seconds > 0:
            self._observe(step)
            self._wait(step.seconds, stop)
        return StepResult(_moment(self.clock), answer)

    def _wait(self, seconds: float, stop: threading.Event | None) -> None:
        """Wait; look every few seconds whether to stop."""
        while seconds > 0 and not self._is_stopped(stop):
            self.clock.sleep(min(_LONGEST_NAP_SECONDS, seconds))
            seconds -= _LONGEST_NAP_SECONDS

    def _is_stopped(self, stop: threading.Event | None) -> bool:
        return self._is_broken_off.is_set() or (stop is not None and stop.is_set())

    def _answer(self, request: Request) -> Response | SourceUnavailableError:
        try:
            answer = self._transport.send(request)
        except SourceUnavailableError as error:
            return error
        if self.first_answer_at is None:
            self.first_answer_at = answered_at(answer.headers)
        return answer


class AsyncAuditLogReader:
    """The same as :class:`AuditLogReader`, for a running event loop."""

    def __init__(
        self,
        transport: AsyncTransport,
        clock: Clock,
        budget: RateLimiter,
        policy: RetryLimits,
        observe: Observer = _ignore,
    ) -> None:
        self.clock = clock
        self._transport = transport
        self._budget = budget
        self._policy = policy
        self._observe = observe

    async def read(
        self, query: AuditQuery, reading: WindowReader | SinglePageReader
    ) -> AsyncIterator[list[AuditRecord]]:
        """Yield complete, sorted records, a walk at a time; raises what ``fetch_script`` raises."""
        script = fetch_script(reading, query, self._budget, self._policy)
        step: Step | None = next(script, None)
        while step is not None:
            if isinstance(step, Deliver):
                yield step.records
            step = _reply(script, await self._perform(step))

    async def _perform(self, step: Step) -> StepResult:
        answer = None
        if isinstance(step, Send):
            self._observe(step)
            answer = await self._answer(step.request)
        elif isinstance(step, Wait) and step.seconds > 0:
            self._observe(step)
            await self.clock.asleep(step.seconds)
        return StepResult(_moment(self.clock), answer)

    async def _answer(self, request: Request) -> Response | SourceUnavailableError:
        try:
            return await self._transport.send(request)
        except SourceUnavailableError as error:
            return error


def _reply(script: FetchScript, outcome: StepResult) -> Step | None:
    """Report an outcome to the script; return its next step, None at its end."""
    try:
        return script.send(outcome)
    except StopIteration:
        return None


def _moment(clock: Clock) -> StepTime:
    return StepTime(clock.now(), clock.monotonic(), clock.jitter())
