"""The allowance of a token: never more than the limit in any period, nothing while the server is closed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_audit_provider.core.budget import CLOUDFLARE_LIMIT, RateBudget, RateLimit
from airflow_audit_provider.exceptions import ConfigurationError

_LIMITS = st.builds(RateLimit, st.integers(1, 6), st.integers(1, 50))


def policy_of(*limits: RateLimit) -> dict[str, str]:
    """Return the header field that announces these limits."""
    return {"ratelimit-policy": ", ".join(f'"x";q={limit.request_count};w={limit.period_seconds}' for limit in limits)}


@settings(max_examples=150, deadline=None)
@given(
    limit=_LIMITS,
    announced=st.lists(_LIMITS, max_size=2),
    pauses=st.lists(st.one_of(st.just(0), st.integers(0, 40)), max_size=40),
)
def test_no_period_ever_holds_more_than_the_limit(
    limit: RateLimit, announced: list[RateLimit], pauses: list[int]
) -> None:
    """However the caller comes, any stretch of a period has at most its limit, the given and every announced one."""
    budget = RateBudget(limit)
    budget.note_answer(policy_of(*announced), 0.0)
    now, sent = 1000.0, []
    for pause in pauses:
        now += pause
        now += budget.delay_seconds(now)
        budget.note_sent(now)
        sent.append(now)
    for request_count, period_seconds in (limit, *announced):
        for first in sent:
            assert sum(first <= other < first + period_seconds for other in sent) <= request_count


def test_the_delay_is_no_longer_than_it_has_to_be() -> None:
    """The next request goes when the oldest one leaves the period, and a fiftieth of it later."""
    budget = RateBudget(RateLimit(2, 10))
    for now in (100.0, 103.0):
        assert budget.delay_seconds(now) == 0.0
        budget.note_sent(now)
    assert [budget.delay_seconds(now) for now in (103.0, 109.0, 110.5, 200.0)] == pytest.approx([7.2, 1.2, 0.0, 0.0])


def test_the_documented_limit_is_the_default() -> None:
    """1200 requests in five minutes are allowed to one token."""
    budget = RateBudget()
    for _ in range(1200):
        assert budget.delay_seconds(5.0) == 0.0
        budget.note_sent(5.0)
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
    budget = RateBudget()
    budget.note_sent(100.0)
    budget.note_answer({"ratelimit": field} if field else {}, 100.0)
    assert budget.delay_seconds(100.0) == delay


def test_requests_under_way_are_taken_off_what_remains() -> None:
    """The server had not counted them when it answered; one that is lost no longer counts."""
    budget = RateBudget()
    for _ in range(4):
        budget.note_sent(100.0)
    budget.note_lost()
    budget.note_answer({"ratelimit": '"d";r=3;t=30'}, 100.0)
    assert budget.delay_seconds(100.0) == 0.0
    budget.note_sent(101.0)
    assert budget.delay_seconds(101.0) == 29.0


def test_what_remained_before_the_reset_is_forgotten_after_it() -> None:
    """After the reset the announced remainder holds no longer."""
    budget = RateBudget()
    budget.note_sent(100.0)
    budget.note_answer({"ratelimit": '"d";r=1;t=30'}, 100.0)
    budget.note_sent(130.0)
    budget.note_sent(130.0)
    assert budget.delay_seconds(130.0) == 0.0


@pytest.mark.parametrize(
    ("given_limit", "policy", "allowed"),
    [
        (None, '"burst";q=2;w=60', 2),
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
    budget = RateBudget(given_limit)
    budget.note_answer({"ratelimit-policy": policy}, 100.0)
    sent_count = 0
    while budget.delay_seconds(100.0) == 0.0:
        budget.note_sent(100.0)
        sent_count += 1
    assert sent_count == allowed


def test_a_higher_limit_is_taken_when_the_server_announces_it() -> None:
    """A plan with more requests is used, as long as no ceiling is given."""
    budget = RateBudget()
    budget.note_answer({"ratelimit-policy": '"default";q=4000;w=300'}, 0.0)
    for _ in range(4000):
        budget.note_sent(0.0)
    assert budget.delay_seconds(0.0) == 306.0


def test_a_shorter_closing_does_not_open_the_gate() -> None:
    """The later of two ends counts."""
    budget = RateBudget()
    budget.close_for(300.0, 100.0)
    budget.close_for(10.0, 110.0)
    assert [budget.delay_seconds(now) for now in (110.0, 399.0, 400.0)] == [290.0, 1.0, 0.0]


def test_the_longer_of_two_reasons_to_wait_counts() -> None:
    """A full period and a closed gate do not add up."""
    budget = RateBudget(RateLimit(1, 100))
    budget.note_sent(0.0)
    budget.close_for(30.0, 0.0)
    assert budget.delay_seconds(0.0) == 102.0
    budget.close_for(300.0, 0.0)
    assert budget.delay_seconds(0.0) == 300.0


@pytest.mark.parametrize(("request_count", "period_seconds"), [(0, 300), (-1, 300), (1, 0), (1, -5)])
def test_a_limit_that_allows_nothing_is_refused(request_count: int, period_seconds: float) -> None:
    """At least one request and a positive period are needed."""
    with pytest.raises(ConfigurationError, match="at least one request"):
        RateBudget(RateLimit(request_count, period_seconds))
