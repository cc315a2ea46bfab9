"""A token that other clients use too: what is reserved for them, and nothing without them."""

from __future__ import annotations

import pytest

from airflow_audit_provider.core.api.rate_limiter import RateLimit, RateLimiter
from tests.core.rate_limit_runs import answered, left


def test_others_on_the_token_are_left_a_reserve() -> None:
    """The last fiftieth of the allowance is left alone when others use the token."""
    limiter = RateLimiter(RateLimit(1000, 300))
    answered(limiter, left(500), 100.0)
    answered(limiter, left(400), 100.0)
    answered(limiter, left(22), 129.999)
    assert limiter.delay_seconds(129.999) == 0.0
    answered(limiter, left(20), 129.999)
    assert limiter.delay_seconds(129.999) == pytest.approx(0.001)


def test_the_reserve_is_for_others_until_the_reset() -> None:
    """With no more than the reserve left, no request is sent before the reset."""
    limiter = RateLimiter(RateLimit(1000, 300))
    answered(limiter, left(500), 100.0)
    answered(limiter, left(20), 100.0)
    assert limiter.delay_seconds(100.0) == 30.0


def test_one_request_of_another_client_holds_nothing_back() -> None:
    """Another client's first request holds nothing back while the quota is large."""
    limiter = RateLimiter(RateLimit(1000, 300))
    answered(limiter, left(900, 300), 100.0)
    answered(limiter, left(898, 300), 100.1)
    assert limiter.delay_seconds(100.1) == 0.0


def test_others_on_the_token_are_left_what_they_will_use() -> None:
    """Others who use one request a second are left two for every second until the reset."""
    limiter = RateLimiter(RateLimit(1000, 300))
    answered(limiter, left(900, 300), 100.0)
    answered(limiter, left(799, 200), 200.0)
    assert limiter.delay_seconds(200.0) == 0.0
    answered(limiter, left(271, 200), 200.0)
    assert 0.0 < limiter.delay_seconds(200.0) <= 10.0


def test_what_others_are_left_is_checked_again() -> None:
    """Ten seconds after the last response one request checks whether others still use the token."""
    limiter = RateLimiter(RateLimit(1000, 300))
    answered(limiter, left(900, 300), 100.0)
    answered(limiter, left(200, 200), 200.0)
    assert limiter.delay_seconds(200.0) == 10.0
    alone = limiter.on_sent(210.0)
    assert limiter.delay_seconds(210.0) > 0.0
    limiter.on_response(alone, left(199, 190), 210.0)
    assert limiter.delay_seconds(215.0) == 5.0
    answered(limiter, left(198, 5), 395.0)
    assert limiter.delay_seconds(395.0) == 0.0


def test_without_others_the_last_request_is_used() -> None:
    """A remainder that falls by our own requests alone is used up to its end."""
    limiter = RateLimiter(RateLimit(1000, 300))
    for remaining in (2, 1):
        answered(limiter, left(remaining), 100.0)
        assert limiter.delay_seconds(100.0) == 0.0
    answered(limiter, left(0), 100.0)
    assert limiter.delay_seconds(100.0) == 30.0
