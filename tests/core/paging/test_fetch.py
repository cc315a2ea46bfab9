"""The fetch script: requests, waits, deliveries, and the error that ends it."""

from __future__ import annotations

import json

import pytest

from airflow_audit_provider.core.api.query import Direction, audit_query
from airflow_audit_provider.core.api.rate_limiter import RateLimit, RateLimiter
from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.core.api.retry import RetryLimits
from airflow_audit_provider.core.paging.fetch import fetch_script
from airflow_audit_provider.core.paging.read_request import ReadRequest
from airflow_audit_provider.core.paging.window_reader import SinglePageReader, WindowReader
from airflow_audit_provider.core.ports import Response
from airflow_audit_provider.core.windows.window import format_second
from airflow_audit_provider.exceptions import (
    ConfigurationError,
    SourceAuthError,
    SourceProtocolError,
    SourceRateLimitedError,
    SourceUnavailableError,
)
from tests.core.paging.paginator_runs import T0, window
from tests.core.script_driver import ScriptDriver, SendResult

QUERIES = {ApiVersion.V1: audit_query("v1", "user"), ApiVersion.V2: audit_query("v2", None, organization_id="o")}
EMPTY = Response(200, {}, b'{"success":true,"result":[]}')
NULL = Response(200, {}, b'{"success":true,"result":null}')
DOWN = SourceUnavailableError("Cut. Try again.")


def status(code: int, **headers: str) -> Response:
    """Returns a response with only a status and headers."""
    return Response(code, headers, b"")


def page_of(*seconds: int, cursor: str | None = None) -> Response:
    """Returns a response with status 200 and one record at each offset from T0."""
    times = [f"2023-11-14T22:13:{20 + second:02}Z" for second in seconds]
    records = [{"id": time, "when": time, "action": {"time": time}} for time in times]
    return Response(
        200, {}, json.dumps({"success": True, "result": records, "result_info": {"cursor": cursor}}).encode()
    )


# A record past the window ends it at once, with nothing delivered.
PAST_WINDOW = page_of(30)


class ScriptRun:
    """One run of the script, with its requests, waits and deliveries."""

    def __init__(
        self,
        *responses: SendResult,
        version: ApiVersion = ApiVersion.V1,
        rate_limiter: RateLimiter | None = None,
        retry_limits: RetryLimits | None = None,
        reader: WindowReader | SinglePageReader | None = None,
    ) -> None:
        self.reader = reader or WindowReader(ReadRequest(version, window(0, 30)))
        self.stats = self.reader.stats
        self.rate_limiter = rate_limiter or RateLimiter()
        self.driver = ScriptDriver(responses)
        self._script = fetch_script(self.reader, QUERIES[version], self.rate_limiter, retry_limits or RetryLimits())

    def play(self) -> ScriptDriver:
        """Drives the script to its end; raises the error that ends it."""
        self.driver.play(self._script)
        return self.driver


def test_empty_window_is_three_requests_and_no_delivery() -> None:
    """Where the log shows no record at all, three requests are sent, nothing is waited for and nothing delivered."""
    run = ScriptRun(EMPTY, EMPTY, EMPTY)
    driver = run.play()
    assert (len(driver.sent), driver.waits, driver.deliveries) == (3, [], [])
    assert (run.stats.request_count, run.stats.retry_count, run.stats.page_count) == (3, 0, 3)


def test_complete_records_are_delivered_in_order() -> None:
    """Each delivery is sorted and not empty, and the requests are those of the paginator."""
    request = ReadRequest(ApiVersion.V1, window(0, 30), page_size=3)
    run = ScriptRun(page_of(1, 2, 4), page_of(4, 6), page_of(6, 4), reader=WindowReader(request, pages_per_cut=1))
    driver = run.play()
    assert [[record.event_second - T0 for record in delivery] for delivery in driver.deliveries] == [
        [1, 2],
        [4, 6],
    ]
    assert dict(driver.sent[1].params)["since"] == "2023-11-14T22:13:23Z"


@pytest.mark.parametrize("failure", [DOWN, status(503), status(408), status(200), NULL, Response(200, {}, b"<html>")])
def test_a_temporary_failure_is_retried_with_the_same_request(failure: SendResult) -> None:
    """A failed request goes out again unchanged, after the delay that names its reason."""
    run = ScriptRun(failure, failure, PAST_WINDOW)
    driver = run.play()
    assert driver.sent[0] == driver.sent[1] == driver.sent[2]
    assert [seconds for seconds, _ in driver.waits] == [0.5, 1.0]
    assert all(reason is not None for _, reason in driver.waits)
    assert (run.stats.request_count, run.stats.retry_count) == (3, 2)


def test_a_rate_limit_blocks_every_reader() -> None:
    """A 429 is waited for once, and blocks every reader that shares the rate limiter."""
    run = ScriptRun(status(429, **{"retry-after": "120"}), PAST_WINDOW)
    driver = run.play()
    ((seconds, reason),) = driver.waits
    assert seconds == 120.0
    assert isinstance(reason, SourceRateLimitedError)
    assert run.rate_limiter.delay_seconds(1000.0) == 120.0
    assert run.stats.throttled_seconds == 0.0


def test_an_unavailable_api_blocks_no_other_reader() -> None:
    """Only a rate limit holds the other readers up."""
    run = ScriptRun(status(503), PAST_WINDOW)
    run.play()
    assert run.rate_limiter.delay_seconds(1000.0) == 0.0


def test_the_rate_limiter_is_waited_for_and_counted() -> None:
    """A used-up limit delays the request, and the statistics count the seconds."""
    rate_limiter = RateLimiter(RateLimit(1, 50))
    rate_limiter.on_sent(1000.0)
    run = ScriptRun(PAST_WINDOW, rate_limiter=rate_limiter)
    driver = run.play()
    assert driver.waits == [(51.0, None)]
    assert run.stats.throttled_seconds == 51.0


def test_the_response_headers_reach_the_rate_limiter() -> None:
    """An announced empty quota delays the next request, also after an error and a lost response."""
    closing = {"ratelimit": '"default";r=0;t=30'}
    run = ScriptRun(DOWN, status(500, **closing), PAST_WINDOW)
    driver = run.play()
    assert [seconds for seconds, _ in driver.waits] == [0.5, 1.0, 29.0]
    assert run.stats.throttled_seconds == 29.0


@pytest.mark.parametrize(
    ("responses", "kind", "request_count"),
    [
        ([status(401)], SourceAuthError, 1),
        ([status(302)], SourceProtocolError, 1),
        ([DOWN] * 3, SourceUnavailableError, 3),
        ([status(503)] * 3, SourceUnavailableError, 3),
        ([status(200)] * 3, SourceUnavailableError, 3),
        ([status(204)] * 3, SourceUnavailableError, 3),
        ([status(429, **{"retry-after": "9999"})], SourceRateLimitedError, 1),
    ],
)
def test_a_permanent_error_ends_the_script_with_its_position(
    responses: list[SendResult], kind: type[SourceProtocolError], request_count: int
) -> None:
    """The error names the attempt and the page."""
    run = ScriptRun(*responses, retry_limits=RetryLimits(max_attempts=3))
    with pytest.raises(kind) as caught:
        run.play()
    assert run.stats.request_count == request_count
    assert caught.value.position == (
        f"attempt {request_count}, since {format_second(T0 - 1)} before {format_second(T0 + 31)} asc page 1"
    )
    assert f"at attempt {request_count}" in str(caught.value)


def test_the_time_allowed_counts_from_the_first_attempt() -> None:
    """The time allowed includes slow failures as well as waits."""
    run = ScriptRun(*[DOWN] * 5, retry_limits=RetryLimits(max_elapsed_seconds=100))
    run.driver = ScriptDriver([DOWN] * 5, seconds_per_request=45.0)
    with pytest.raises(SourceUnavailableError):
        run.play()
    assert len(run.driver.sent) == 3


def test_each_page_has_its_own_attempts() -> None:
    """A failure on one page does not count for the next page."""
    run = ScriptRun(
        DOWN,
        page_of(1, 2, cursor="c"),
        DOWN,
        page_of(3),
        version=ApiVersion.V2,
        retry_limits=RetryLimits(max_attempts=2),
    )
    driver = run.play()
    assert [seconds for seconds, _ in driver.waits] == [0.5, 0.5]
    assert len(driver.deliveries) == 1


def test_a_position_shows_the_start_of_the_cursor_only() -> None:
    """A cursor may contain what must not be logged, so it is truncated."""
    run = ScriptRun(page_of(0, cursor="c" * 16 + "secret"), status(401), version=ApiVersion.V2)
    with pytest.raises(SourceAuthError) as caught:
        run.play()
    assert str(caught.value.position).endswith(f"page 1 cursor {'c' * 16}…")


def test_a_400_goes_to_the_reader() -> None:
    """A cursor that is refused where time cannot advance is the reader's error instead of a bare 400."""
    run = ScriptRun(page_of(0, cursor="c"), status(400), version=ApiVersion.V2)
    with pytest.raises(SourceProtocolError, match="records could be lost here: the API refused its own cursor"):
        run.play()


def test_400_after_a_proved_end_delivers() -> None:
    """Pending records are delivered if a status 400 follows a proved end."""
    driver = ScriptRun(page_of(5), page_of(5), status(400)).play()
    assert [len(delivery) for delivery in driver.deliveries] == [1]


def test_a_400_to_the_first_page_ends_the_script() -> None:
    """Filters that the API rejects are raised unchanged."""
    with pytest.raises(SourceProtocolError, match="Check the filters"):
        ScriptRun(status(400)).play()


def test_an_error_of_the_paginator_is_not_retried() -> None:
    """A page out of order is raised at once, although its status is 200."""
    run = ScriptRun(page_of(3, 1))
    with pytest.raises(SourceProtocolError, match="not sorted"):
        run.play()
    assert run.stats.request_count == 1


def test_position_of_the_error_is_kept() -> None:
    """A position that the error already has is kept."""
    known = SourceUnavailableError("Gone. Try again.", position="in the cable")
    with pytest.raises(SourceUnavailableError) as caught:
        ScriptRun(known, retry_limits=RetryLimits(max_attempts=1)).play()
    assert caught.value.position == "in the cable"


def test_configuration_error_has_no_position() -> None:
    """An error of configuration is raised without a position."""
    with pytest.raises(Exception, match="cannot find the audit log of the user"):
        ScriptRun(status(404)).play()


@pytest.mark.parametrize(
    "no_route", [status(404), Response(400, {}, b'{"errors":[{"code":7003,"message":"No route"}]}')]
)
def test_log_that_is_lost_after_pages_names_another_remedy(no_route: Response) -> None:
    """Its id is right, because the log has returned pages to this reader or to the one before it."""
    with pytest.raises(ConfigurationError, match="no longer finds the audit log of the user") as caught:
        ScriptRun(page_of(1, 2), no_route).play()
    assert "Check account_id" not in str(caught.value)
    request = ReadRequest(ApiVersion.V1, window(0, 9), known_second=T0)
    with pytest.raises(ConfigurationError, match="no longer finds"):
        ScriptRun(no_route, reader=WindowReader(request)).play()
    with pytest.raises(ConfigurationError, match="Check account_id or organization_id"):
        ScriptRun(no_route).play()


def test_a_single_page_is_fetched_like_a_window() -> None:
    """One page is one request, delivered unchanged."""
    request = ReadRequest(ApiVersion.V1, window(0, 9), Direction.DESC, 2)
    run = ScriptRun(page_of(7, 3), reader=SinglePageReader(request))
    driver = run.play()
    assert [len(delivery) for delivery in driver.deliveries] == [2]
    assert len(driver.sent) == 1


def test_a_driver_that_reports_no_response_is_an_error() -> None:
    """A driver must return a response for ``Send``."""
    with pytest.raises(RuntimeError, match="no response to Send"):
        ScriptRun(None).play()
