"""Retry or give up: one decision for every failed request, sync or async, and one for every failed task.

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
    WindowNotSettledError,
)


class RetryLimits(NamedTuple):
    """How long one request is tried: attempts for failures, total seconds for everything.

    ``blocked_seconds`` is waited on a 429 that names no time: Cloudflare documents a five-minute block.
    """

    max_attempts: int = 8
    max_elapsed_seconds: float = 1800.0
    base_seconds: float = 1.0
    cap_seconds: float = 60.0
    blocked_seconds: float = 300.0


NO_RETRY = RetryLimits(max_attempts=1, max_elapsed_seconds=0.0)


class RetryDecision(NamedTuple):
    """Whether a task that failed may be tried again; ``delay_seconds`` of None leaves the delay to the task."""

    is_allowed: bool
    delay_seconds: float | None = None


# Longer than any block Cloudflare documents; whoever names more, or no number, is not believed.
_LONGEST_DELAY_SECONDS = 86_400.0
# A 200 that is no JSON, or carries success=false, is what an overloaded edge or a proxy sends in passing.
_GARBLED_ATTEMPTS = 4


def sane_retry_after(retry_after: float | None) -> float | None:
    """Return the seconds that were asked for; None without any, and for what no server can mean.

    That is less than nothing, no number, and more than a day: one bad header must not stop anybody for ever.
    """
    if retry_after is None or not 0.0 <= retry_after <= _LONGEST_DELAY_SECONDS:
        return None
    return retry_after


def retry_delay(
    error: AuditProviderError, attempt: int, elapsed_seconds: float, jitter: float, policy: RetryLimits
) -> float | None:
    """Return the seconds to wait before the next attempt, or None to give up.

    ``attempt`` counts from 1; ``jitter`` is in [0, 1). A delay that would pass ``max_elapsed_seconds`` gives up.
    """
    told = sane_retry_after(error.retry_after)
    if isinstance(error, SourceRateLimitedError):
        wait = policy.blocked_seconds if told is None else told
        # A server that blocks and asks for hardly a wait would be asked thousands of times.
        delay = (wait if wait >= policy.base_seconds else _spread(attempt, policy)) + jitter
    elif attempt >= _attempt_limit(error, policy):
        return None
    else:
        delay = max(_spread(attempt, policy) * (0.5 + jitter / 2), told or 0.0)
    return delay if elapsed_seconds + delay <= policy.max_elapsed_seconds else None


def _spread(attempt: int, policy: RetryLimits) -> float:
    """Return the longest wait, in seconds, before the attempt after this one: doubling up to the cap."""
    return float(min(policy.cap_seconds, policy.base_seconds * 2.0 ** min(attempt - 1, 30)))


def decide_task_retry(error: AuditProviderError, policy: RetryLimits = RetryLimits()) -> RetryDecision:
    """Return whether and when to try a task again: a rate limit and an unsettled window say when, the rest does not."""
    if not error.retryable:
        return RetryDecision(is_allowed=False)
    if not isinstance(error, SourceRateLimitedError | WindowNotSettledError):
        return RetryDecision(is_allowed=True)
    told = policy.blocked_seconds if error.retry_after is None else sane_retry_after(error.retry_after)
    return RetryDecision(is_allowed=True, delay_seconds=told)


def _attempt_limit(error: AuditProviderError, policy: RetryLimits) -> int:
    if error.retryable:
        return policy.max_attempts
    garbled = isinstance(error, SourceProtocolError) and error.status == 200
    return min(_GARBLED_ATTEMPTS, policy.max_attempts) if garbled else 1
