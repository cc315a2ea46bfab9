"""The script of one conversation: what is sent, how long is waited, what is delivered, which error ends it."""

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
from airflow_audit_provider.exceptions import (
    SourceAuthError,
    SourceProtocolError,
    SourceRateLimitedError,
    SourceUnavailableError,
)
from tests.core.paging.paginator_runs import T0, window
from tests.core.script_driver import Answer, ScriptPlayer

QUERIES = {ApiVersion.V1: audit_query("v1", "user"), ApiVersion.V2: audit_query("v2", None, organization_id="o")}
EMPTY = Response(200, {}, b'{"success":true,"result":[]}')
DOWN = SourceUnavailableError("Cut. Try again.")


def status(code: int, **headers: str) -> Response:
    """Return an answer with only a status and header fields."""
    return Response(code, headers, b"")


def page_of(*seconds: int, cursor: str | None = None) -> Response:
    """Return a 200 with one record at each offset from T0."""
    times = [f"2023-11-14T22:13:{20 + second:02}Z" for second in seconds]
    records = [{"id": time, "when": time, "action": {"time": time}} for time in times]
    return Response(
        200, {}, json.dumps({"success": True, "result": records, "result_info": {"cursor": cursor}}).encode()
    )


class ScriptRun:
    """One played conversation with everything that came of it."""

    def __init__(
        self,
        *responses: Answer,
        version: ApiVersion = ApiVersion.V1,
        rate_limiter: RateLimiter | None = None,
        retry_limits: RetryLimits | None = None,
        reader: WindowReader | SinglePageReader | None = None,
    ) -> None:
        self.reader = reader or WindowReader(ReadRequest(version, window(0, 30)))
        self.stats = self.reader.stats
        self.rate_limiter = rate_limiter or RateLimiter()
        self.player = ScriptPlayer(responses)
        self._script = fetch_script(self.reader, QUERIES[version], self.rate_limiter, retry_limits or RetryLimits())

    def play(self) -> ScriptPlayer:
        """Play it; raise the error that ends it."""
        self.player.play(self._script)
        return self.player


def test_an_empty_window_is_one_request_and_no_delivery() -> None:
    """Nothing there: one request, nothing waited, nothing delivered."""
    run = ScriptRun(EMPTY)
    player = run.play()
    assert (len(player.sent), player.waits, player.deliveries) == (1, [], [])
    assert (run.stats.request_count, run.stats.retry_count, run.stats.page_count) == (1, 0, 1)


def test_what_became_complete_is_delivered_in_order() -> None:
    """Each delivery is sorted and not empty, and the requests are those of the walk."""
    request = ReadRequest(ApiVersion.V1, window(0, 30), page_size=3)
    run = ScriptRun(page_of(1, 2, 4), page_of(4, 6), page_of(6, 4), reader=WindowReader(request, pages_per_cut=1))
    player = run.play()
    assert [[record.event_ns // 10**9 - T0 for record in piece] for piece in player.deliveries] == [[1, 2], [4, 6]]
    assert dict(player.sent[1].params)["since"] == "2023-11-14T22:13:23Z"


@pytest.mark.parametrize("failure", [DOWN, status(503), status(408), status(200), Response(200, {}, b"<html>")])
def test_a_passing_failure_is_tried_again_with_the_same_request(failure: Answer) -> None:
    """A failed request goes out again unchanged, after the delay that names its reason."""
    run = ScriptRun(failure, failure, EMPTY)
    player = run.play()
    assert player.sent[0] == player.sent[1] == player.sent[2]
    assert [seconds for seconds, _ in player.waits] == [0.5, 1.0]
    assert all(reason is not None for _, reason in player.waits)
    assert (run.stats.request_count, run.stats.retry_count) == (3, 2)


def test_a_rate_limit_closes_the_budget_for_every_reader() -> None:
    """A 429 is waited out once, and whoever shares the budget waits too."""
    run = ScriptRun(status(429, **{"retry-after": "120"}), EMPTY)
    player = run.play()
    ((seconds, reason),) = player.waits
    assert seconds == 120.0
    assert isinstance(reason, SourceRateLimitedError)
    assert run.rate_limiter.delay_seconds(1000.0) == 120.0
    assert run.stats.throttled_seconds == 0.0


def test_an_unavailable_source_does_not_close_the_budget() -> None:
    """Only a rate limit holds the other readers up."""
    run = ScriptRun(status(503), EMPTY)
    run.play()
    assert run.rate_limiter.delay_seconds(1000.0) == 0.0


def test_the_budget_is_waited_for_and_counted() -> None:
    """A used-up budget delays the request, and the tally says how long."""
    rate_limiter = RateLimiter(RateLimit(1, 50))
    rate_limiter.on_sent(1000.0)
    run = ScriptRun(EMPTY, rate_limiter=rate_limiter)
    player = run.play()
    assert player.waits == [(51.0, None)]
    assert run.stats.throttled_seconds == 51.0


def test_the_answers_headers_reach_the_budget() -> None:
    """An announced end of the allowance delays the next request, also after a failure and a lost answer."""
    closing = {"ratelimit": '"default";r=0;t=30'}
    run = ScriptRun(DOWN, status(500, **closing), EMPTY)
    player = run.play()
    assert [seconds for seconds, _ in player.waits] == [0.5, 1.0, 29.0]
    assert run.stats.throttled_seconds == 29.0


@pytest.mark.parametrize(
    ("responses", "kind", "request_count"),
    [
        ([status(401)], SourceAuthError, 1),
        ([status(302)], SourceProtocolError, 1),
        ([DOWN] * 3, SourceUnavailableError, 3),
        ([status(503)] * 3, SourceUnavailableError, 3),
        ([status(200)] * 3, SourceProtocolError, 3),
        ([status(429, **{"retry-after": "9999"})], SourceRateLimitedError, 1),
    ],
)
def test_what_cannot_be_mended_ends_the_script_with_its_position(
    responses: list[Answer], kind: type[SourceProtocolError], request_count: int
) -> None:
    """The error says at which attempt and at which page it struck."""
    run = ScriptRun(*responses, retry_limits=RetryLimits(max_attempts=3))
    with pytest.raises(kind) as caught:
        run.play()
    assert run.stats.request_count == request_count
    assert caught.value.position == f"attempt {request_count}, since {T0 - 1} before {T0 + 31} asc page 1"
    assert f"at attempt {request_count}" in str(caught.value)


def test_the_time_allowed_counts_from_the_first_attempt() -> None:
    """Slow failures use the time up as waiting does."""
    run = ScriptRun(*[DOWN] * 5, retry_limits=RetryLimits(max_elapsed_seconds=100))
    run.player = ScriptPlayer([DOWN] * 5, seconds_per_request=45.0)
    with pytest.raises(SourceUnavailableError):
        run.play()
    assert len(run.player.sent) == 3


def test_each_page_has_its_own_attempts() -> None:
    """A failure on one page does not count against the next."""
    run = ScriptRun(
        DOWN,
        page_of(1, 2, cursor="c"),
        DOWN,
        page_of(3),
        version=ApiVersion.V2,
        retry_limits=RetryLimits(max_attempts=2),
    )
    player = run.play()
    assert [seconds for seconds, _ in player.waits] == [0.5, 0.5]
    assert len(player.deliveries) == 1


def test_a_position_shows_the_start_of_the_cursor_only() -> None:
    """A cursor may hold what is not for a log, so it is cut."""
    run = ScriptRun(page_of(0, cursor="c" * 16 + "secret"), status(401), version=ApiVersion.V2)
    with pytest.raises(SourceAuthError) as caught:
        run.play()
    assert str(caught.value.position).endswith(f"page 1 cursor {'c' * 16}…")


def test_a_400_goes_to_the_reading() -> None:
    """A refused cursor, where time stands still, is the reading's own error and no bare 400."""
    run = ScriptRun(page_of(0, cursor="c"), status(400), version=ApiVersion.V2)
    with pytest.raises(SourceProtocolError, match="records could be lost here: the API refused its own cursor"):
        run.play()


def test_a_400_that_proves_the_end_delivers() -> None:
    """Records held behind a proved end that is answered by 400 are delivered."""
    player = ScriptRun(page_of(5), page_of(5), status(400)).play()
    assert [len(piece) for piece in player.deliveries] == [1]


def test_a_400_to_the_first_page_ends_the_script() -> None:
    """Filters the API refuses are raised as they are."""
    with pytest.raises(SourceProtocolError, match="Check the filters"):
        ScriptRun(status(400)).play()


def test_an_error_of_the_walk_is_not_tried_again() -> None:
    """An answer that breaks the order is raised at once, though its status is 200."""
    run = ScriptRun(page_of(3, 1))
    with pytest.raises(SourceProtocolError, match="not sorted"):
        run.play()
    assert run.stats.request_count == 1


def test_a_position_that_is_known_is_kept() -> None:
    """The error's own position is better than the script's."""
    known = SourceUnavailableError("Gone. Try again.", position="in the cable")
    with pytest.raises(SourceUnavailableError) as caught:
        ScriptRun(known, retry_limits=RetryLimits(max_attempts=1)).play()
    assert caught.value.position == "in the cable"


def test_a_wrong_address_has_no_position() -> None:
    """An error of configuration is raised without a place in the list."""
    with pytest.raises(Exception, match="no such audit log"):
        ScriptRun(status(404)).play()


def test_a_single_page_is_played_like_a_reading() -> None:
    """One page is one request, delivered as it came."""
    request = ReadRequest(ApiVersion.V1, window(0, 9), Direction.DESC, 2)
    run = ScriptRun(page_of(7, 3), reader=SinglePageReader(request))
    player = run.play()
    assert [len(piece) for piece in player.deliveries] == [2]
    assert len(player.sent) == 1


def test_a_player_that_reports_no_answer_is_mistaken() -> None:
    """``Send`` has to be answered."""
    with pytest.raises(RuntimeError, match="no response to Send"):
        ScriptRun(None).play()
