"""A token that others use too: what is left to them, and that nothing is left where nobody else is."""

from __future__ import annotations

import pytest

from airflow_audit_provider.core.api.rate_limiter import RateLimit, RateLimiter
from tests.core.rate_limit_runs import answered, left


def test_others_on_the_token_are_left_a_reserve() -> None:
    """The last fiftieth of the allowance is left alone when others use the token."""
    budget = RateLimiter(RateLimit(1000, 300))
    answered(budget, left(500), 100.0)
    answered(budget, left(400), 100.0)
    answered(budget, left(22), 129.999)
    assert budget.delay_seconds(129.999) == 0.0
    answered(budget, left(20), 129.999)
    assert budget.delay_seconds(129.999) == pytest.approx(0.001)


def test_the_reserve_is_for_others_until_the_reset() -> None:
    """With no more than the reserve left nobody looks again before the reset."""
    budget = RateLimiter(RateLimit(1000, 300))
    answered(budget, left(500), 100.0)
    answered(budget, left(20), 100.0)
    assert budget.delay_seconds(100.0) == 30.0


def test_one_request_of_somebody_is_no_flood() -> None:
    """Somebody else's first request, seen at once, holds nothing back while there is plenty."""
    budget = RateLimiter(RateLimit(1000, 300))
    answered(budget, left(900, 300), 100.0)
    answered(budget, left(898, 300), 100.1)
    assert budget.delay_seconds(100.1) == 0.0


def test_others_on_the_token_are_left_what_they_will_use() -> None:
    """Others who use one request a second are left two for every second until the reset."""
    budget = RateLimiter(RateLimit(1000, 300))
    answered(budget, left(900, 300), 100.0)
    answered(budget, left(799, 200), 200.0)
    assert budget.delay_seconds(200.0) == 0.0
    answered(budget, left(271, 200), 200.0)
    assert 0.0 < budget.delay_seconds(200.0) <= 10.0


def test_what_others_are_left_is_looked_at_again() -> None:
    """Ten seconds after the last answer one request goes to see whether the others still use the token."""
    budget = RateLimiter(RateLimit(1000, 300))
    answered(budget, left(900, 300), 100.0)
    answered(budget, left(200, 200), 200.0)
    assert budget.delay_seconds(200.0) == 10.0
    alone = budget.on_sent(210.0)
    assert budget.delay_seconds(210.0) > 0.0
    budget.on_response(alone, left(199, 190), 210.0)
    assert budget.delay_seconds(215.0) == 5.0
    answered(budget, left(198, 5), 395.0)
    assert budget.delay_seconds(395.0) == 0.0


def test_without_others_the_last_request_is_used() -> None:
    """A remainder that falls by our own requests alone is used up to its end."""
    budget = RateLimiter(RateLimit(1000, 300))
    for remaining in (2, 1):
        answered(budget, left(remaining), 100.0)
        assert budget.delay_seconds(100.0) == 0.0
    answered(budget, left(0), 100.0)
    assert budget.delay_seconds(100.0) == 30.0
