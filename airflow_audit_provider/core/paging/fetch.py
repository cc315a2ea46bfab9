"""Reading an audit log as a script of steps (reserve, wait, send …), performed alike by a sync and an async driver.

The script decides the order of rate limiter, request, response, retry and delivery. It neither opens sockets nor reads
clocks: the driver performs each step and reports what came of it and when (the "sans I/O" pattern, as in h11).

Invariant: every decision is made here; a driver only performs steps.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import NamedTuple, TypeAlias

from airflow_audit_provider.core.api.query import AuditQuery, PageRequest
from airflow_audit_provider.core.api.rate_limiter import RateLimiter, SentRequest
from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.core.api.responses import Page
from airflow_audit_provider.core.api.retry import RetryLimits, retry_delay, sane_retry_after
from airflow_audit_provider.core.api.token_budget import Grant, Outcome, SharedRateLimiter, Ticket
from airflow_audit_provider.core.paging.window_reader import SinglePageReader, WindowReader
from airflow_audit_provider.core.ports import Request, Response
from airflow_audit_provider.core.windows.window import format_second
from airflow_audit_provider.exceptions import (
    AuditProviderError,
    SourceError,
    SourceProtocolError,
    SourceRateLimitedError,
    SourceUnavailableError,
)


class StepTime(NamedTuple):
    """End of a step: wall clock in UTC, monotonic seconds, and a random number in [0, 1) for jitter."""

    now: datetime
    monotonic_seconds: float
    jitter: float


class Wait(NamedTuple):
    """Wait so many seconds, 0.0 to only report the time; ``reason`` is the error that is retried afterwards, if any."""

    seconds: float
    reason: AuditProviderError | None = None


class Send(NamedTuple):
    """Send this request and report the response, or the error if there is none."""

    request: Request


class Deliver(NamedTuple):
    """Pass on these records, which are complete, sorted and never empty."""

    records: list[AuditRecord]


class Reserve(NamedTuple):
    """Ask the shared budget of the token for a request, and report its grant, None if the budget cannot be used."""

    ticket: Ticket | None = None


class Settle(NamedTuple):
    """Report to the shared budget what came of a granted request."""

    grant: Grant
    outcome: Outcome


class StepResult(NamedTuple):
    """Result of a step; ``response`` is set only after ``Send``, ``grant`` only after ``Reserve``."""

    time: StepTime
    response: Response | SourceUnavailableError | None = None
    grant: Grant | None = None


class _Slot(NamedTuple):
    """Permission to send one request: when, as counted by the own limiter, and as granted by the shared budget."""

    time: StepTime
    sent: SentRequest
    grant: Grant | None


Step: TypeAlias = Wait | Send | Deliver | Reserve | Settle
FetchScript: TypeAlias = Generator[Step, StepResult, None]


def fetch_script(
    reader: WindowReader | SinglePageReader,
    query: AuditQuery,
    rate_limiter: RateLimiter,
    retry_limits: RetryLimits,
    connection: str | None = None,
) -> FetchScript:
    """Yields the steps that read a window, or one page, to its end.

    Raises the ``AuditProviderError`` that retrying could not fix, with window, position and the name of the connection.
    """
    pages = _PageFetcher(reader, query, rate_limiter, retry_limits)
    while (page_request := reader.next_request()) is not None:
        try:
            complete = yield from pages.fetch(page_request)
        except AuditProviderError as error:
            error.connection = connection
            if isinstance(error, SourceError) and error.window is None:
                error.window = str(reader.request.window)
            raise
        if complete:
            yield Deliver(complete)


class _PageFetcher:
    """Fetches one page at a time and passes it to the reader."""

    def __init__(
        self,
        reader: WindowReader | SinglePageReader,
        query: AuditQuery,
        rate_limiter: RateLimiter,
        retry_limits: RetryLimits,
    ) -> None:
        self._reader = reader
        self._query = query
        self._rate_limiter = rate_limiter
        self._retry_limits = retry_limits

    def fetch(self, page_request: PageRequest) -> Generator[Step, StepResult, list[AuditRecord]]:
        """Fetches one page; returns the records that became complete.

        An error that the reader raises carries the status and ray id of the response that it judged.
        """
        try:
            page, response = yield from self._send_until_answered(page_request)
        except SourceProtocolError as refusal:
            # Status 400 was observed for the page after the last full one, so it may be the end: the reader decides.
            if refusal.status != 400:
                raise
            with _response_facts(refusal.status, refusal.ray_id):
                return self._reader.receive_refusal(refusal)
        with _response_facts(response.status, response.headers.get("cf-ray")):
            return self._reader.receive(page)

    def _send_until_answered(self, page_request: PageRequest) -> Generator[Step, StepResult, tuple[Page, Response]]:
        """Sends a request until it is answered or its retries are used up; returns the page and its response."""
        request = self._query.page_request(page_request)
        started = (yield Wait(0.0)).time
        attempt = 0
        while True:
            slot = yield from self._wait_for_rate_limiter()
            attempt += 1
            self._reader.stats.request_count += 1
            result = yield Send(request)
            try:
                answer = self._read_response(result, slot.sent)
            except AuditProviderError as error:
                elapsed_seconds = result.time.monotonic_seconds - started.monotonic_seconds
                delay = retry_delay(error, attempt, elapsed_seconds, slot.time.jitter, self._retry_limits)
                yield from _settle(slot.grant, result, self._blocked_seconds(error, delay))
                if delay is None:
                    raise _with_position(error, page_request, attempt) from error.__cause__
                self._reader.stats.retry_count += 1
                if isinstance(error, SourceRateLimitedError):
                    # Cloudflare API docs, rate limits: "all API calls for the next five minutes will be blocked", so
                    # every request of this token waits, not only this one.
                    self._rate_limiter.block_for(delay, result.time.monotonic_seconds)
                yield Wait(delay, error)
            else:
                yield from _settle(slot.grant, result)
                return answer

    def _wait_for_rate_limiter(self) -> Generator[Step, StepResult, _Slot]:
        """Waits until the rate limiter allows a request, and counts it as sent."""
        result = yield self._question(None)
        while (delay := self._delay_seconds(result)) > 0:
            self._reader.stats.throttled_seconds += delay
            yield Wait(delay)
            result = yield self._question(result.grant)
        return _Slot(result.time, self._rate_limiter.on_sent(result.time.monotonic_seconds), result.grant)

    def _question(self, grant: Grant | None) -> Step:
        """Returns the step that asks for a request: the shared budget, or the own limiter, which needs the time."""
        if not isinstance(self._rate_limiter, SharedRateLimiter):
            return Wait(0.0)
        return Reserve(None if grant is None else grant.ticket)

    def _delay_seconds(self, result: StepResult) -> float:
        if result.grant is not None:
            return result.grant.delay_seconds
        return self._rate_limiter.delay_seconds(result.time.monotonic_seconds)

    def _blocked_seconds(self, error: AuditProviderError, delay_seconds: float | None) -> float:
        """Returns how long all sharers of the budget have to wait after an error."""
        if not isinstance(error, SourceRateLimitedError):
            return 0.0
        return sane_retry_after(error.retry_after) or delay_seconds or self._retry_limits.blocked_seconds

    @property
    def _has_returned_pages(self) -> bool:
        """Whether the log has returned a page, to this reader or to the one that reads the window's beginning."""
        return self._reader.stats.page_count > 0 or self._reader.request.known_second is not None

    def _read_response(self, result: StepResult, sent: SentRequest) -> tuple[Page, Response]:
        """Returns the page in a response; raises the error that the response stands for."""
        response, time = result.response, result.time
        if response is None:
            raise RuntimeError("the driver reported no response to Send")
        if isinstance(response, SourceUnavailableError):
            self._rate_limiter.on_lost(sent, time.monotonic_seconds)
            raise response
        self._reader.trip_seconds += time.monotonic_seconds - sent.at_seconds
        self._rate_limiter.on_response(sent, response.headers, time.monotonic_seconds)
        page = self._query.read_page(response, time.now, has_returned_pages=self._has_returned_pages)
        return page, response


def _settle(grant: Grant | None, result: StepResult, blocked_seconds: float = 0.0) -> Generator[Step, StepResult, None]:
    """Reports a response, or the loss of a request, to the shared budget that granted it."""
    if grant is not None:
        headers = result.response.headers if isinstance(result.response, Response) else None
        yield Settle(grant, Outcome(result.time.monotonic_seconds, headers, blocked_seconds))


@contextmanager
def _response_facts(status: int | None, ray_id: str | None) -> Iterator[None]:
    """Adds the status and ray id of a response to errors raised inside."""
    try:
        yield
    except SourceError as error:
        error.status, error.ray_id = status, ray_id
        raise


def _with_position(error: AuditProviderError, page_request: PageRequest, attempt: int) -> AuditProviderError:
    """Returns the error with the position of the failed request, if it has none yet."""
    if isinstance(error, SourceError) and error.position is None:
        cursor = "" if page_request.cursor is None else f" cursor {page_request.cursor[:16]}…"
        error.position = (
            f"attempt {attempt}, since {format_second(page_request.since_seconds)} "
            f"before {format_second(page_request.before_seconds)} "
            f"{page_request.direction} page {page_request.page}{cursor}"
        )
    return error
