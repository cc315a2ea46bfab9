"""One conversation with the API as a script of steps: wait, send, deliver. Sync and async callers play the same one.

Knows: the order of budget, request, answer, retry and delivery.
Must not know: sockets and clocks; the player performs each step and reports what happened and when.
Its one rule: every decision is taken here, so that a player only performs.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import NamedTuple, TypeAlias

from airflow_audit_provider.core.api.query import AuditQuery, PageRequest
from airflow_audit_provider.core.api.rate_limiter import RateLimiter, SentRequest
from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.core.api.responses import Page, read_page
from airflow_audit_provider.core.api.retry import RetryLimits, retry_delay
from airflow_audit_provider.core.paging.window_reader import SinglePageReader, WindowReader
from airflow_audit_provider.core.ports import Request, Response
from airflow_audit_provider.exceptions import (
    AuditProviderError,
    SourceError,
    SourceProtocolError,
    SourceRateLimitedError,
    SourceUnavailableError,
)


class StepTime(NamedTuple):
    """When a step was done: wall clock in UTC, seconds that never run backwards, and a random number in [0, 1)."""

    now: datetime
    monotonic_seconds: float
    jitter: float


class Wait(NamedTuple):
    """Wait so many seconds (0.0: only tell the time); ``reason`` is the failure that asks for it, if any."""

    seconds: float
    reason: AuditProviderError | None = None


class Send(NamedTuple):
    """Send this request and report the answer, or the failure to get one."""

    request: Request


class Deliver(NamedTuple):
    """Hand these complete records on; never empty, sorted."""

    records: list[AuditRecord]


class StepResult(NamedTuple):
    """What came of a step; ``answer`` only after ``Send``."""

    moment: StepTime
    answer: Response | SourceUnavailableError | None = None


Step: TypeAlias = Wait | Send | Deliver
FetchScript: TypeAlias = Generator[Step, StepResult, None]


def fetch_script(
    reading: WindowReader | SinglePageReader, query: AuditQuery, budget: RateLimiter, policy: RetryLimits
) -> FetchScript:
    """Play a reading to its end; raises the ``AuditProviderError`` that could not be mended, with its position."""
    while (ask := reading.next_request()) is not None:
        try:
            complete = yield from _turn(ask, query, reading, budget, policy)
        except SourceError as error:
            if error.window is None and isinstance(reading, WindowReader):
                error.window = str(reading.window)
            raise
        if complete:
            yield Deliver(complete)


def _turn(
    ask: PageRequest,
    query: AuditQuery,
    reading: WindowReader | SinglePageReader,
    budget: RateLimiter,
    policy: RetryLimits,
) -> Generator[Step, StepResult, list[AuditRecord]]:
    """Ask for one page and let the reading judge it; an error of the judgement names the answer that was judged."""
    try:
        page, answer = yield from _ask_page(ask, query, reading, budget, policy)
    except SourceProtocolError as refusal:
        if refusal.status != 400:
            raise
        with _named_answer(refusal.status, refusal.ray_id):
            return reading.receive_refusal(refusal)
    with _named_answer(answer.status, answer.headers.get("cf-ray")):
        return reading.receive(page)


@contextmanager
def _named_answer(status: int | None, ray_id: str | None) -> Iterator[None]:
    try:
        yield
    except SourceError as error:
        error.status, error.ray_id = status, ray_id
        raise


def _ask_page(
    ask: PageRequest,
    query: AuditQuery,
    reading: WindowReader | SinglePageReader,
    budget: RateLimiter,
    policy: RetryLimits,
) -> Generator[Step, StepResult, tuple[Page, Response]]:
    """Ask for one page until it is answered or given up; return it with its answer."""
    request = query.page_request(ask)
    began = (yield Wait(0.0)).moment
    attempt = 0
    while True:
        moment, sent = yield from _await_budget(budget, reading)
        attempt += 1
        reading.tally.request_count += 1
        outcome = yield Send(request)
        try:
            return _page_in(outcome, sent, query, budget)
        except AuditProviderError as error:
            elapsed_seconds = outcome.moment.monotonic_seconds - began.monotonic_seconds
            delay = retry_delay(error, attempt, elapsed_seconds, moment.jitter, policy)
            if delay is None:
                raise _placed(error, ask, attempt) from error.__cause__
            reading.tally.retry_count += 1
            if isinstance(error, SourceRateLimitedError):
                budget.block_for(delay, outcome.moment.monotonic_seconds)
            yield Wait(delay, error)


def _await_budget(
    budget: RateLimiter, reading: WindowReader | SinglePageReader
) -> Generator[Step, StepResult, tuple[StepTime, SentRequest]]:
    """Wait until the budget lets a request go, and count it."""
    moment = (yield Wait(0.0)).moment
    while (delay := budget.delay_seconds(moment.monotonic_seconds)) > 0:
        reading.tally.throttled_seconds += delay
        moment = (yield Wait(delay)).moment
    return moment, budget.on_sent(moment.monotonic_seconds)


def _page_in(outcome: StepResult, sent: SentRequest, query: AuditQuery, budget: RateLimiter) -> tuple[Page, Response]:
    answer = outcome.answer
    if answer is None:
        raise RuntimeError("the player reported no answer to Send")
    if isinstance(answer, SourceUnavailableError):
        budget.on_lost(sent, outcome.moment.monotonic_seconds)
        raise answer
    budget.on_response(sent, answer.headers, outcome.moment.monotonic_seconds)
    return read_page(query.version, answer, outcome.moment.now), answer


def _placed(error: AuditProviderError, ask: PageRequest, attempt: int) -> AuditProviderError:
    """Say in the error where it struck."""
    if isinstance(error, SourceError) and error.position is None:
        cursor = "" if ask.cursor is None else f" cursor {ask.cursor[:16]}…"
        error.position = (
            f"attempt {attempt}, since {ask.since_seconds} before {ask.before_seconds} {ask.direction} "
            f"page {ask.page}{cursor}"
        )
    return error
