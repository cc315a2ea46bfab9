"""Spending a rate budget in tests: requests that go, and what the server says of the rest.

Knows: the budget's interface and the header field. Must not know: what a test expects.
Its one rule: nothing here waits; the present is a parameter as it is for the budget.
"""

from __future__ import annotations

from airflow_audit_provider.core.api.rate_limiter import RateLimiter


def answered(budget: RateLimiter, headers: dict[str, str], now: float) -> None:
    """Send one request that is answered in no time."""
    budget.on_response(budget.on_sent(now), headers, now)


def left(remaining: int, reset_seconds: int = 30) -> dict[str, str]:
    """Return the header field that says so many requests remain."""
    return {"ratelimit": f'"d";r={remaining};t={reset_seconds}'}


def sent_at_once(budget: RateLimiter, now: float) -> int:
    """Send until the budget says no more; return how many went."""
    count = 0
    while budget.delay_seconds(now) == 0.0:
        budget.on_sent(now)
        count += 1
    return count
