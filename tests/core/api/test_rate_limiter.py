"""The rate limiter never exceeds the limit in any period, and sends nothing while the token is blocked."""

from __future__ import annotations

import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_audit_provider.core.api.rate_limiter import CLOUDFLARE_LIMIT, RateLimit, RateLimiter
from airflow_audit_provider.exceptions import ConfigurationError
from tests.core.rate_limit_runs import remaining_header, send_answered, sent_at_once
from tests.hypothesis_profiles import examples

_LIMITS = st.builds(RateLimit, st.integers(1, 6), st.integers(1, 50))


def policy_of(*limits: RateLimit) -> dict[str, str]:
    """Returns the header field that announces these limits."""
    return {"ratelimit-policy": ", ".join(f'"x";q={limit.request_count};w={limit.period_seconds}' for limit in limits)}


@examples(150)
@given(
    limit=_LIMITS,
    announced=st.lists(_LIMITS, max_size=2),
    pauses=st.lists(st.one_of(st.just(0), st.integers(0, 40)), max_size=40),
)
def test_no_period_exceeds_a_limit(limit: RateLimit, announced: list[RateLimit], pauses: list[int]) -> None:
    """No period has more requests than any limit, given or announced, allows."""
    limiter = RateLimiter(limit)
    send_answered(limiter, policy_of(*announced), 0.0)
    now, sent = 1000.0, []
    for pause in pauses:
        now += pause
        now += limiter.delay_seconds(now)
        send_answered(limiter, {}, now)
        sent.append(now)
    for request_count, period_seconds in (limit, *announced):
        for first in sent:
            assert sum(first <= other < first + period_seconds for other in sent) <= request_count


def test_delay_ends_when_the_oldest_request_leaves_the_period() -> None:
    """The next request is sent when the oldest one leaves the period, plus a fiftieth of the period."""
    limiter = RateLimiter(RateLimit(2, 10))
    for now in (100.0, 103.0):
        assert limiter.delay_seconds(now) == 0.0
        limiter.on_sent(now)
    assert [limiter.delay_seconds(now) for now in (103.0, 109.0, 110.5, 200.0)] == pytest.approx([7.2, 1.2, 0.0, 0.0])


def test_documented_limit_is_the_default() -> None:
    """By default one token may send 1200 requests in five minutes."""
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
def test_empty_quota_blocks_until_the_reset(field: str, delay: float) -> None:
    """If no requests remain, none is sent until the reset; any other value changes nothing."""
    limiter = RateLimiter()
    send_answered(limiter, {"ratelimit": field} if field else {}, 100.0)
    assert limiter.delay_seconds(100.0) == delay


def test_requests_in_flight_are_subtracted_from_what_remains() -> None:
    """Requests in flight are subtracted from the remainder until they are answered or lost."""
    limiter = RateLimiter()
    sent = [limiter.on_sent(100.0) for _ in range(4)]
    limiter.on_lost(sent[0], 101.0)
    limiter.on_response(sent[1], remaining_header(4), 101.0)
    assert sent_at_once(limiter, 101.0) == 1


def test_delayed_response_does_not_raise_the_remainder() -> None:
    """Responses that arrive out of order never leave more requests than the server has."""
    limiter = RateLimiter()
    sent = [limiter.on_sent(100.0) for _ in range(8)]
    for remaining in range(2, 10):
        limiter.on_response(sent[9 - remaining], remaining_header(remaining), 100.5)
    assert sent_at_once(limiter, 100.5) == 2


def test_single_request_updates_an_uncertain_remainder() -> None:
    """If it is uncertain whether requests remain, one is sent when no other is in flight."""
    limiter = RateLimiter()
    sent = [limiter.on_sent(100.0) for _ in range(8)]
    for index in range(7):
        limiter.on_response(sent[index], remaining_header(9 - index), 100.5)
    assert 0.0 < limiter.delay_seconds(100.5) <= 0.5
    limiter.on_response(sent[7], remaining_header(2), 100.5)
    assert sent_at_once(limiter, 100.5) == 1
    assert limiter.delay_seconds(100.5) == 0.5


def test_earliest_announced_reset_applies() -> None:
    """The earliest announced reset applies, because the others are rounded up more."""
    limiter = RateLimiter(RateLimit(100, 1))
    send_answered(limiter, remaining_header(3, 10), 100.0)
    send_answered(limiter, remaining_header(2, 8), 101.0)
    send_answered(limiter, remaining_header(0, 9), 101.5)
    assert limiter.delay_seconds(101.5) == 7.5


def test_constant_round_trip_does_not_delay_the_reset() -> None:
    """Equal round trips delay nothing, because the next request takes as long to arrive."""
    limiter = RateLimiter()
    limiter.on_response(limiter.on_sent(100.0), remaining_header(0, 10), 103.0)
    assert limiter.delay_seconds(103.0) == 7.0


def test_slow_request_may_have_arrived_late() -> None:
    """A request two seconds slower than the fastest one may have arrived two seconds later."""
    limiter = RateLimiter(RateLimit(2, 10))
    limiter.on_response(limiter.on_sent(100.0), {}, 101.0)
    slow = limiter.on_sent(101.0)
    assert limiter.delay_seconds(101.0) == pytest.approx(9.2)
    limiter.on_response(slow, {}, 104.0)
    limiter.on_sent(110.2)
    assert limiter.delay_seconds(110.2) == pytest.approx(103.0 + 10.2 - 110.2)


def test_unanswered_request_counts_as_just_arriving() -> None:
    """The period behind a request starts only when its response is received."""
    limiter = RateLimiter(RateLimit(1, 10))
    limiter.on_response(limiter.on_sent(100.0), {}, 101.0)
    limiter.on_sent(120.0)
    assert limiter.delay_seconds(150.0) == pytest.approx(10.2 - 1.0)


def test_remainder_expires_at_the_reset() -> None:
    """After the reset the announced remainder no longer applies."""
    limiter = RateLimiter()
    send_answered(limiter, remaining_header(1), 100.0)
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
def test_announced_policy_lowers_a_given_limit(given_limit: RateLimit | None, policy: str, allowed: int) -> None:
    """Announced limits replace the documented one, and only lower a given one."""
    limiter = RateLimiter(given_limit)
    send_answered(limiter, {"ratelimit-policy": policy}, 100.0)
    assert 1 + sent_at_once(limiter, 100.0) == allowed


def test_remembered_requests_are_bounded() -> None:
    """A rate limiter in use for months remembers no more requests than its limit."""
    limiter = RateLimiter(RateLimit(5, 10))
    for second in range(10_000):
        send_answered(limiter, {}, float(10 * second))
    assert len(pickle.dumps(limiter)) < 2000


def test_higher_announced_limit_replaces_the_default() -> None:
    """A higher announced limit is used if no limit is given."""
    limiter = RateLimiter()
    send_answered(limiter, {"ratelimit-policy": '"default";q=4000;w=300'}, 0.0)
    for _ in range(3999):
        limiter.on_sent(0.0)
    assert limiter.delay_seconds(0.0) == 306.0


def test_a_shorter_block_does_not_end_a_longer_one() -> None:
    """Of two blocks the one that ends later applies."""
    limiter = RateLimiter()
    limiter.block_for(300.0, 100.0)
    limiter.block_for(10.0, 110.0)
    assert [limiter.delay_seconds(now) for now in (110.0, 399.0, 400.0)] == [290.0, 1.0, 0.0]


def test_longer_of_limit_and_block_applies() -> None:
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
def test_invalid_limit_is_an_error(request_count: int, period_seconds: float) -> None:
    """A limit has a whole number of at least one request and a positive, finite period."""
    with pytest.raises(ConfigurationError, match="at least one request"):
        RateLimiter(RateLimit(request_count, period_seconds))
