"""The allowance of a token: never more than the limit in any period, nothing while the server is closed."""

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
    """However the caller comes, any stretch of a period has at most its limit, the given and every announced one."""
    budget = RateLimiter(limit)
    answered(budget, policy_of(*announced), 0.0)
    now, sent = 1000.0, []
    for pause in pauses:
        now += pause
        now += budget.delay_seconds(now)
        answered(budget, {}, now)
        sent.append(now)
    for request_count, period_seconds in (limit, *announced):
        for first in sent:
            assert sum(first <= other < first + period_seconds for other in sent) <= request_count


def test_the_delay_is_no_longer_than_it_has_to_be() -> None:
    """The next request goes when the oldest one leaves the period, and a fiftieth of it later."""
    budget = RateLimiter(RateLimit(2, 10))
    for now in (100.0, 103.0):
        assert budget.delay_seconds(now) == 0.0
        budget.on_sent(now)
    assert [budget.delay_seconds(now) for now in (103.0, 109.0, 110.5, 200.0)] == pytest.approx([7.2, 1.2, 0.0, 0.0])


def test_the_documented_limit_is_the_default() -> None:
    """1200 requests in five minutes are allowed to one token."""
    budget = RateLimiter()
    for _ in range(1200):
        assert budget.delay_seconds(5.0) == 0.0
        budget.on_sent(5.0)
    assert budget.delay_seconds(5.0) == 306.0
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
def test_an_announced_end_of_the_allowance_closes_the_gate(field: str, delay: float) -> None:
    """With nothing remaining no request goes until the reset; anything else changes nothing."""
    budget = RateLimiter()
    answered(budget, {"ratelimit": field} if field else {}, 100.0)
    assert budget.delay_seconds(100.0) == delay


def test_requests_under_way_are_taken_off_what_remains() -> None:
    """The server may not have counted them when it answered; one that is lost no longer counts."""
    budget = RateLimiter()
    sent = [budget.on_sent(100.0) for _ in range(4)]
    budget.on_lost(sent[0], 101.0)
    budget.on_response(sent[1], left(4), 101.0)
    assert sent_at_once(budget, 101.0) == 1


def test_an_early_answer_that_comes_late_does_not_raise_what_remains() -> None:
    """Eight requests whose answers overtake one another never leave more than the server has."""
    budget = RateLimiter()
    sent = [budget.on_sent(100.0) for _ in range(8)]
    for remaining in range(2, 10):
        budget.on_response(sent[9 - remaining], left(remaining), 100.5)
    assert sent_at_once(budget, 100.5) == 2


def test_one_request_alone_finds_out_what_remains() -> None:
    """Where the answers leave open whether anything remains, one request goes when no other is under way."""
    budget = RateLimiter()
    sent = [budget.on_sent(100.0) for _ in range(8)]
    for index in range(7):
        budget.on_response(sent[index], left(9 - index), 100.5)
    assert 0.0 < budget.delay_seconds(100.5) <= 0.5
    budget.on_response(sent[7], left(2), 100.5)
    assert sent_at_once(budget, 100.5) == 1
    assert budget.delay_seconds(100.5) == 0.5


def test_the_reset_is_no_later_than_any_answer_says() -> None:
    """The answer that is rounded up least says when the reset comes."""
    budget = RateLimiter(RateLimit(100, 1))
    answered(budget, left(3, 10), 100.0)
    answered(budget, left(2, 8), 101.0)
    answered(budget, left(0, 9), 101.5)
    assert budget.delay_seconds(101.5) == 7.5


def test_the_way_there_and_back_is_no_part_of_the_reset() -> None:
    """An answer that took as long as every other one delays nothing: the next request takes as long to arrive."""
    budget = RateLimiter()
    budget.on_response(budget.on_sent(100.0), left(0, 10), 103.0)
    assert budget.delay_seconds(103.0) == 7.0


def test_a_late_answer_counts_from_when_it_may_have_arrived() -> None:
    """A request that took two seconds longer than the quickest may have arrived two seconds later."""
    budget = RateLimiter(RateLimit(2, 10))
    budget.on_response(budget.on_sent(100.0), {}, 101.0)
    slow = budget.on_sent(101.0)
    assert budget.delay_seconds(101.0) == pytest.approx(9.2)
    budget.on_response(slow, {}, 104.0)
    budget.on_sent(110.2)
    assert budget.delay_seconds(110.2) == pytest.approx(103.0 + 10.2 - 110.2)


def test_a_request_without_an_answer_yet_counts_as_just_arriving() -> None:
    """As long as nothing is heard of a request the period behind it does not begin."""
    budget = RateLimiter(RateLimit(1, 10))
    budget.on_response(budget.on_sent(100.0), {}, 101.0)
    budget.on_sent(120.0)
    assert budget.delay_seconds(150.0) == pytest.approx(10.2 - 1.0)


def test_what_remained_before_the_reset_is_forgotten_after_it() -> None:
    """After the reset the announced remainder holds no longer."""
    budget = RateLimiter()
    answered(budget, left(1), 100.0)
    budget.on_sent(130.0)
    budget.on_sent(130.0)
    assert budget.delay_seconds(130.0) == 0.0


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
def test_an_announced_policy_is_believed_below_the_ceiling(
    given_limit: RateLimit | None, policy: str, allowed: int
) -> None:
    """The server's limits take the place of the documented one; a limit that is given only gets lower."""
    budget = RateLimiter(given_limit)
    answered(budget, {"ratelimit-policy": policy}, 100.0)
    assert 1 + sent_at_once(budget, 100.0) == allowed


def test_what_is_counted_is_bounded() -> None:
    """A budget of months remembers no more requests than a limit has."""
    budget = RateLimiter(RateLimit(5, 10))
    for second in range(10_000):
        answered(budget, {}, float(10 * second))
    assert len(pickle.dumps(budget)) < 2000


def test_a_higher_limit_is_taken_when_the_server_announces_it() -> None:
    """A plan with more requests is used, as long as no ceiling is given."""
    budget = RateLimiter()
    answered(budget, {"ratelimit-policy": '"default";q=4000;w=300'}, 0.0)
    for _ in range(3999):
        budget.on_sent(0.0)
    assert budget.delay_seconds(0.0) == 306.0


def test_a_shorter_closing_does_not_open_the_gate() -> None:
    """The later of two ends counts."""
    budget = RateLimiter()
    budget.block_for(300.0, 100.0)
    budget.block_for(10.0, 110.0)
    assert [budget.delay_seconds(now) for now in (110.0, 399.0, 400.0)] == [290.0, 1.0, 0.0]


def test_the_longer_of_two_reasons_to_wait_counts() -> None:
    """A full period and a closed gate do not add up."""
    budget = RateLimiter(RateLimit(1, 100))
    budget.on_sent(0.0)
    budget.block_for(30.0, 0.0)
    assert budget.delay_seconds(0.0) == 102.0
    budget.block_for(300.0, 0.0)
    assert budget.delay_seconds(0.0) == 300.0


@pytest.mark.parametrize(
    ("request_count", "period_seconds"),
    [(0, 300), (-1, 300), (1.5, 300), (True, 300), (math.nan, 300), (1, 0), (1, -5), (1, math.nan), (1, math.inf)],
)
def test_an_impossible_limit_is_refused(request_count: int, period_seconds: float) -> None:
    """A whole number of at least one request and a positive, finite period are needed."""
    with pytest.raises(ConfigurationError, match="at least one request"):
        RateLimiter(RateLimit(request_count, period_seconds))
