"""The rate limiter never exceeds the limit in any period, and sends nothing while the token is blocked."""

from __future__ import annotations

import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_audit_provider.core.api.rate_limiter import CLOUDFLARE_LIMIT, RateLimit, RateLimiter
from airflow_audit_provider.exceptions import ConfigurationError
from tests.core.rate_limit_runs import answered, left, sent_at_once
from tests.hypothesis_profiles import examples

_LIMITS = st.builds(RateLimit, st.integers(1, 6), st.integers(1, 50))


def policy_of(*limits: RateLimit) -> dict[str, str]:
    """Return the header field that announces these limits."""
    return {"ratelimit-policy": ", ".join(f'"x";q={limit.request_count};w={limit.period_seconds}' for limit in limits)}


@examples(150)
@given(
    limit=_LIMITS,
    announced=st.lists(_LIMITS, max_size=2),
    pauses=st.lists(st.one_of(st.just(0), st.integers(0, 40)), max_size=40),
)
def test_no_period_ever_holds_more_than_the_limit(
    limit: RateLimit, announced: list[RateLimit], pauses: list[int]
) -> None:
    """Any period has at most its limit of requests, the given and every announced one."""
    limiter = RateLimiter(limit)
    answered(limiter, policy_of(*announced), 0.0)
    now, sent = 1000.0, []
    for pause in pauses:
        now += pause
        now += limiter.delay_seconds(now)
        answered(limiter, {}, now)
        sent.append(now)
    for request_count, period_seconds in (limit, *announced):
        for first in sent:
            assert sum(first <= other < first + period_seconds for other in sent) <= request_count


def test_the_delay_is_no_longer_than_it_has_to_be() -> None:
    """The next request goes when the oldest one leaves the period, and a fiftieth of it later."""
    limiter = RateLimiter(RateLimit(2, 10))
    for now in (100.0, 103.0):
        assert limiter.delay_seconds(now) == 0.0
        limiter.on_sent(now)
    assert [limiter.delay_seconds(now) for now in (103.0, 109.0, 110.5, 200.0)] == pytest.approx([7.2, 1.2, 0.0, 0.0])


def test_the_documented_limit_is_the_default() -> None:
    """1200 requests in five minutes are allowed to one token."""
    limiter = RateLimiter()
    for _ in range(1200):
        assert limiter.delay_seconds(5.0) == 0.0
        limiter.on_sent(5.0)
    assert limiter.delay_seconds(5.0) == 306.0
    assert CLOUDFLARE_LIMIT == (1200, 300.0)


@pytest.mark.parametrize(
    ("field", "delay"),
    [
        ('"default";r=0;t=30', 30.0),
        ('"default"; r=0; t=2.5', 2.5),
        ('"default";t=30;r=0', 30.0),
        ('"default";r=0.5;t=30', 30.0),
        ('"default";r=1;t=30', 0.0),
        ('"default";r=50;t=30', 0.0),
        ('"default";r=0', 0.0),
        ('"default";t=30', 0.0),
        ("garbage", 0.0),
        ("", 0.0),
        ('"defaulter=0;t=30"', 0.0),
    ],
)
def test_an_announced_empty_quota_blocks_until_the_reset(field: str, delay: float) -> None:
    """With nothing remaining no request is sent until the reset; any other value changes nothing."""
    limiter = RateLimiter()
    answered(limiter, {"ratelimit": field} if field else {}, 100.0)
    assert limiter.delay_seconds(100.0) == delay


def test_requests_in_flight_are_subtracted_from_what_remains() -> None:
    """The server may not have counted them in its response; one that is lost no longer counts."""
    limiter = RateLimiter()
    sent = [limiter.on_sent(100.0) for _ in range(4)]
    limiter.on_lost(sent[0], 101.0)
    limiter.on_response(sent[1], left(4), 101.0)
    assert sent_at_once(limiter, 101.0) == 1


def test_an_early_response_that_arrives_late_does_not_raise_what_remains() -> None:
    """Responses that overtake one another never leave more than the server has."""
    limiter = RateLimiter()
    sent = [limiter.on_sent(100.0) for _ in range(8)]
    for remaining in range(2, 10):
        limiter.on_response(sent[9 - remaining], left(remaining), 100.5)
    assert sent_at_once(limiter, 100.5) == 2


def test_a_single_request_shows_what_remains() -> None:
    """If it is uncertain whether anything remains, one request is sent when no other is in flight."""
    limiter = RateLimiter()
    sent = [limiter.on_sent(100.0) for _ in range(8)]
    for index in range(7):
        limiter.on_response(sent[index], left(9 - index), 100.5)
    assert 0.0 < limiter.delay_seconds(100.5) <= 0.5
    limiter.on_response(sent[7], left(2), 100.5)
    assert sent_at_once(limiter, 100.5) == 1
    assert limiter.delay_seconds(100.5) == 0.5


def test_the_reset_is_no_later_than_any_answer_says() -> None:
    """The earliest announced reset counts, because the others are rounded up more."""
    limiter = RateLimiter(RateLimit(100, 1))
    answered(limiter, left(3, 10), 100.0)
    answered(limiter, left(2, 8), 101.0)
    answered(limiter, left(0, 9), 101.5)
    assert limiter.delay_seconds(101.5) == 7.5


def test_the_way_there_and_back_is_no_part_of_the_reset() -> None:
    """A round trip as long as every other delays nothing: the next request takes as long to arrive."""
    limiter = RateLimiter()
    limiter.on_response(limiter.on_sent(100.0), left(0, 10), 103.0)
    assert limiter.delay_seconds(103.0) == 7.0


def test_a_late_response_counts_from_when_it_may_have_arrived() -> None:
    """A request that took two seconds longer than the quickest may have arrived two seconds later."""
    limiter = RateLimiter(RateLimit(2, 10))
    limiter.on_response(limiter.on_sent(100.0), {}, 101.0)
    slow = limiter.on_sent(101.0)
    assert limiter.delay_seconds(101.0) == pytest.approx(9.2)
    limiter.on_response(slow, {}, 104.0)
    limiter.on_sent(110.2)
    assert limiter.delay_seconds(110.2) == pytest.approx(103.0 + 10.2 - 110.2)


def test_a_request_without_a_response_yet_counts_as_just_arriving() -> None:
    """As long as nothing is heard of a request the period behind it does not begin."""
    limiter = RateLimiter(RateLimit(1, 10))
    limiter.on_response(limiter.on_sent(100.0), {}, 101.0)
    limiter.on_sent(120.0)
    assert limiter.delay_seconds(150.0) == pytest.approx(10.2 - 1.0)


def test_what_remained_before_the_reset_is_forgotten_after_it() -> None:
    """After the reset the announced remainder holds no longer."""
    limiter = RateLimiter()
    answered(limiter, left(1), 100.0)
    limiter.on_sent(130.0)
    limiter.on_sent(130.0)
    assert limiter.delay_seconds(130.0) == 0.0


@pytest.mark.parametrize(
    ("given_limit", "policy", "allowed"),
    [
        (None, '"burst";q=2;w=60', 2),
        (None, '"burst";q=5000;w=10', 1200),
        (None, '"default";q=5000;w=10', 5000),
        (None, '"burst";q=2;w=60, "default";q=3;w=300', 2),
        (None, '"default";w=60;q=3', 3),
        (RateLimit(2, 60), '"default";q=4;w=60', 2),
        (RateLimit(4, 60), '"default";q=2;w=60', 2),
        (RateLimit(4, 60), '"default";q=0;w=60', 4),
        (RateLimit(4, 60), '"default";q=2', 4),
        (RateLimit(4, 60), '"default";w=60', 4),
        (RateLimit(4, 60), '"default";q=1;w=0', 4),
        (RateLimit(4, 60), '"default";q=1;w=86401', 4),
        (RateLimit(4, 60), '"default";q=1000001;w=1', 4),
        (RateLimit(4, 60), "nonsense, more", 4),
    ],
)
def test_an_announced_policy_is_adopted_below_the_maximum(
    given_limit: RateLimit | None, policy: str, allowed: int
) -> None:
    """Announced limits replace the documented one, and only lower a given one."""
    limiter = RateLimiter(given_limit)
    answered(limiter, {"ratelimit-policy": policy}, 100.0)
    assert 1 + sent_at_once(limiter, 100.0) == allowed


def test_what_is_counted_is_bounded() -> None:
    """A rate limiter used for months remembers no more requests than its limit."""
    limiter = RateLimiter(RateLimit(5, 10))
    for second in range(10_000):
        answered(limiter, {}, float(10 * second))
    assert len(pickle.dumps(limiter)) < 2000


def test_a_higher_limit_is_taken_when_the_server_announces_it() -> None:
    """A plan with more requests is used, as long as no ceiling is given."""
    limiter = RateLimiter()
    answered(limiter, {"ratelimit-policy": '"default";q=4000;w=300'}, 0.0)
    for _ in range(3999):
        limiter.on_sent(0.0)
    assert limiter.delay_seconds(0.0) == 306.0


def test_a_shorter_block_does_not_end_a_longer_one() -> None:
    """The later of two ends counts."""
    limiter = RateLimiter()
    limiter.block_for(300.0, 100.0)
    limiter.block_for(10.0, 110.0)
    assert [limiter.delay_seconds(now) for now in (110.0, 399.0, 400.0)] == [290.0, 1.0, 0.0]


def test_the_longer_of_two_reasons_to_wait_counts() -> None:
    """A used-up limit and a block do not add up."""
    limiter = RateLimiter(RateLimit(1, 100))
    limiter.on_sent(0.0)
    limiter.block_for(30.0, 0.0)
    assert limiter.delay_seconds(0.0) == 102.0
    limiter.block_for(300.0, 0.0)
    assert limiter.delay_seconds(0.0) == 300.0


@pytest.mark.parametrize(
    ("request_count", "period_seconds"),
    [(0, 300), (-1, 300), (1.5, 300), (True, 300), (math.nan, 300), (1, 0), (1, -5), (1, math.nan), (1, math.inf)],
)
def test_an_impossible_limit_is_refused(request_count: int, period_seconds: float) -> None:
    """A whole number of at least one request and a positive, finite period are needed."""
    with pytest.raises(ConfigurationError, match="at least one request"):
        RateLimiter(RateLimit(request_count, period_seconds))
