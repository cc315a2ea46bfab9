"""Decides whether and when to retry: one decision for every failed request, one for every failed task.

Time and randomness are parameters. Invariant: an error that waiting cannot fix is raised at once.
"""

from __future__ import annotations

from typing import NamedTuple

from airflow_audit_provider.exceptions import (
    AuditProviderError,
    SourceRateLimitedError,
    WindowNotSettledError,
)


class RetryLimits(NamedTuple):
    """Limits of the retries of one request: attempts apply to failures, total seconds to everything.

    ``base_seconds`` doubles with every attempt up to ``cap_seconds``. ``blocked_seconds`` is the wait after a 429 that
    names no time.
    """

    max_attempts: int = 8
    max_elapsed_seconds: float = 1800.0
    base_seconds: float = 1.0
    cap_seconds: float = 60.0
    # Cloudflare API docs, rate limits: "all API calls for the next five minutes will be blocked".
    blocked_seconds: float = 300.0


NO_RETRY = RetryLimits(max_attempts=1, max_elapsed_seconds=0.0)


class RetryDecision(NamedTuple):
    """Whether a failed task may be retried; ``delay_seconds`` is None if the task's own delay applies."""

    is_allowed: bool
    delay_seconds: float | None = None


# Longer than any block that Cloudflare documents (five minutes). A longer time is taken for a mistake.
_MAX_RETRY_AFTER_SECONDS = 86_400.0


def sane_retry_after(retry_after: float | None) -> float | None:
    """Returns the seconds of a ``Retry-After``; None without one, and for a value that no server can mean.

    RFC 9110, 10.2.3: "A delay-seconds value is a non-negative decimal integer, representing time in seconds." Negative
    values, NaN and more than a day are ignored: one wrong header must not stop a pull indefinitely.
    """
    if retry_after is None or not 0.0 <= retry_after <= _MAX_RETRY_AFTER_SECONDS:
        return None
    return retry_after


def retry_delay(
    error: AuditProviderError, attempt: int, elapsed_seconds: float, jitter: float, limits: RetryLimits
) -> float | None:
    """Returns the seconds to wait before the next attempt at a request, None to give up.

    ``attempt`` counts from 1 and ``jitter`` is in [0, 1). A delay that would exceed ``max_elapsed_seconds`` gives up.
    """
    retry_after = sane_retry_after(error.retry_after)
    if isinstance(error, SourceRateLimitedError):
        # A 429 does not count as a failed attempt: it says that the same request succeeds later. Cloudflare API docs,
        # rate limits, retry-after: "The number of seconds, rounded up, until more capacity is available." A server that
        # blocks and names hardly a wait would otherwise be asked thousands of times, so the backoff is the minimum.
        wait = limits.blocked_seconds if retry_after is None else retry_after
        delay = (wait if wait >= limits.base_seconds else _backoff(attempt, limits)) + jitter
    elif attempt >= _max_attempts(error, limits):
        return None
    else:
        # RFC 9110, 10.2.3: Retry-After states "how long the user agent ought to wait before making a follow-up
        # request". Half of the backoff is random, so that many workers do not retry in the same moment.
        delay = max(_backoff(attempt, limits) * (0.5 + jitter / 2), retry_after or 0.0)
    return delay if elapsed_seconds + delay <= limits.max_elapsed_seconds else None


def _backoff(attempt: int, limits: RetryLimits) -> float:
    """Returns the longest wait in seconds after an attempt: doubling up to the cap."""
    return float(min(limits.cap_seconds, limits.base_seconds * 2.0 ** min(attempt - 1, 30)))


def decide_task_retry(error: AuditProviderError, limits: RetryLimits = RetryLimits()) -> RetryDecision:
    """Returns whether and when to retry a task.

    A rate limit and a window that is not settled name the delay; any other error leaves it to the task.
    """
    if not error.retryable:
        return RetryDecision(is_allowed=False)
    if not isinstance(error, SourceRateLimitedError | WindowNotSettledError):
        return RetryDecision(is_allowed=True)
    delay = limits.blocked_seconds if error.retry_after is None else sane_retry_after(error.retry_after)
    return RetryDecision(is_allowed=True, delay_seconds=delay)


def _max_attempts(error: AuditProviderError, limits: RetryLimits) -> int:
    return limits.max_attempts if error.retryable else 1
