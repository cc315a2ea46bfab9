"""Retry or give up: one decision for every failed request, sync or async.

Knows: the errors by remedy, how often and how long to try.
Must not know: the clock or randomness; elapsed time and jitter are parameters.
Its one rule: what waiting cannot mend is given up at once.
"""

from __future__ import annotations

from typing import NamedTuple

from airflow_audit_provider.exceptions import (
    AuditProviderError,
    SourceProtocolError,
    SourceRateLimitedError,
)


class RetryPolicy(NamedTuple):
    """How long one request is tried: attempts for failures, total seconds for everything.

    ``blocked_seconds`` is waited on a 429 that names no time: Cloudflare documents a five-minute block.
    """

    max_attempts: int = 8
    max_elapsed_seconds: float = 1800.0
    base_seconds: float = 1.0
    cap_seconds: float = 60.0
    blocked_seconds: float = 300.0


# A 200 that is no JSON, or carries success=false, is what an overloaded edge or a proxy sends in passing.
_GARBLED_ATTEMPTS = 4


def retry_delay(
    error: AuditProviderError, attempt: int, elapsed_seconds: float, jitter: float, policy: RetryPolicy
) -> float | None:
    """Return the seconds to wait before the next attempt, or None to give up.

    ``attempt`` counts from 1; ``jitter`` is in [0, 1). A delay that would pass ``max_elapsed_seconds`` gives up.
    """
    if isinstance(error, SourceRateLimitedError):
        wait = policy.blocked_seconds if error.retry_after is None else error.retry_after
        # A server that blocks and asks for hardly a wait would be asked thousands of times.
        delay = (wait if wait >= policy.base_seconds else _spread(attempt, policy)) + jitter
    elif attempt >= _attempt_limit(error, policy):
        return None
    else:
        delay = max(_spread(attempt, policy) * (0.5 + jitter / 2), error.retry_after or 0.0)
    return delay if elapsed_seconds + delay <= policy.max_elapsed_seconds else None


def _spread(attempt: int, policy: RetryPolicy) -> float:
    """Return the longest wait, in seconds, before the attempt after this one: doubling up to the cap."""
    return float(min(policy.cap_seconds, policy.base_seconds * 2.0 ** min(attempt - 1, 30)))


def _attempt_limit(error: AuditProviderError, policy: RetryPolicy) -> int:
    if error.retryable:
        return policy.max_attempts
    garbled = isinstance(error, SourceProtocolError) and error.status == 200
    return min(_GARBLED_ATTEMPTS, policy.max_attempts) if garbled else 1
