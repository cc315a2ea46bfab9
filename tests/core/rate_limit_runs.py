"""Sends requests through a rate limiter in tests; the time is a parameter, so nothing waits."""

from __future__ import annotations

from airflow_audit_provider.core.api.rate_limiter import RateLimiter


def send_answered(rate_limiter: RateLimiter, headers: dict[str, str], now: float) -> None:
    """Sends one request whose response takes no time."""
    rate_limiter.on_response(rate_limiter.on_sent(now), headers, now)


def remaining_header(remaining: int, reset_seconds: int = 30) -> dict[str, str]:
    """Returns the header that announces how many requests remain."""
    return {"ratelimit": f'"d";r={remaining};t={reset_seconds}'}


def sent_at_once(rate_limiter: RateLimiter, now: float) -> int:
    """Sends as many requests as are allowed now; returns their number."""
    count = 0
    while rate_limiter.delay_seconds(now) == 0.0:
        rate_limiter.on_sent(now)
        count += 1
    return count
