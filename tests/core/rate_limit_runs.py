"""Sends requests through a rate limiter in tests; the time is a parameter, so nothing waits."""

from __future__ import annotations

from airflow_audit_provider.core.api.rate_limiter import RateLimiter


def answered(rate_limiter: RateLimiter, headers: dict[str, str], now: float) -> None:
    """Send one request whose response takes no time."""
    rate_limiter.on_response(rate_limiter.on_sent(now), headers, now)


def left(remaining: int, reset_seconds: int = 30) -> dict[str, str]:
    """Return the header that announces how many requests remain."""
    return {"ratelimit": f'"d";r={remaining};t={reset_seconds}'}


def sent_at_once(rate_limiter: RateLimiter, now: float) -> int:
    """Send as many requests as are allowed now; return their number."""
    count = 0
    while rate_limiter.delay_seconds(now) == 0.0:
        rate_limiter.on_sent(now)
        count += 1
    return count
