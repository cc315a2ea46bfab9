"""A token that other clients also use: a reserve is left for them, and nothing is left without them."""

from __future__ import annotations

import pytest

from airflow_audit_provider.core.api.rate_limiter import RateLimit, RateLimiter
from tests.core.rate_limit_runs import remaining_header, send_answered


def test_other_clients_are_left_a_reserve() -> None:
    """The last fiftieth of the limit is left unused if other clients use the token."""
    limiter = RateLimiter(RateLimit(1000, 300))
    send_answered(limiter, remaining_header(500), 100.0)
    send_answered(limiter, remaining_header(400), 100.0)
    send_answered(limiter, remaining_header(22), 129.999)
    assert limiter.delay_seconds(129.999) == 0.0
    send_answered(limiter, remaining_header(20), 129.999)
    assert limiter.delay_seconds(129.999) == pytest.approx(0.001)


def test_reserve_is_kept_until_the_reset() -> None:
    """If only the reserve is left, no request is sent before the reset."""
    limiter = RateLimiter(RateLimit(1000, 300))
    send_answered(limiter, remaining_header(500), 100.0)
    send_answered(limiter, remaining_header(20), 100.0)
    assert limiter.delay_seconds(100.0) == 30.0


def test_first_request_of_another_client_delays_nothing() -> None:
    """Another client's first request delays nothing while the remainder is large."""
    limiter = RateLimiter(RateLimit(1000, 300))
    send_answered(limiter, remaining_header(900, 300), 100.0)
    send_answered(limiter, remaining_header(898, 300), 100.1)
    assert limiter.delay_seconds(100.1) == 0.0


def test_reserve_grows_with_the_rate_of_other_clients() -> None:
    """Clients that send one request a second are left two for every second until the reset."""
    limiter = RateLimiter(RateLimit(1000, 300))
    send_answered(limiter, remaining_header(900, 300), 100.0)
    send_answered(limiter, remaining_header(799, 200), 200.0)
    assert limiter.delay_seconds(200.0) == 0.0
    send_answered(limiter, remaining_header(271, 200), 200.0)
    assert 0.0 < limiter.delay_seconds(200.0) <= 10.0


def test_reserve_is_checked_again_after_ten_seconds() -> None:
    """Ten seconds after the last response one request checks whether other clients still use the token."""
    limiter = RateLimiter(RateLimit(1000, 300))
    send_answered(limiter, remaining_header(900, 300), 100.0)
    send_answered(limiter, remaining_header(200, 200), 200.0)
    assert limiter.delay_seconds(200.0) == 10.0
    alone = limiter.on_sent(210.0)
    assert limiter.delay_seconds(210.0) > 0.0
    limiter.on_response(alone, remaining_header(199, 190), 210.0)
    assert limiter.delay_seconds(215.0) == 5.0
    send_answered(limiter, remaining_header(198, 5), 395.0)
    assert limiter.delay_seconds(395.0) == 0.0


def test_without_others_the_last_request_is_used() -> None:
    """A remainder that only own requests reduce is used up to its end."""
    limiter = RateLimiter(RateLimit(1000, 300))
    for remaining in (2, 1):
        send_answered(limiter, remaining_header(remaining), 100.0)
        assert limiter.delay_seconds(100.0) == 0.0
    send_answered(limiter, remaining_header(0), 100.0)
    assert limiter.delay_seconds(100.0) == 30.0
