"""Rate limit: a number of requests in a fixed window, then a block.

Invariant: during a block every request is refused, and a request does not extend the block.
"""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

from airflow_audit_provider.testing.settings import Settings


class Verdict(NamedTuple):
    """Whether a request passes; remaining requests and seconds to the next window; seconds to wait if blocked."""

    passed: bool
    remaining: int
    reset_seconds: int
    retry_seconds: int = 0


class RateLimit:
    """Fixed window that starts with the first request after the last window ended; times are seconds of any clock."""

    def __init__(self, settings: Settings) -> None:
        self._limit = settings.requests_per_window
        self._window_seconds = settings.window_seconds
        self._block_seconds = settings.block_seconds
        self._started_at = float("-inf")
        self._blocked_until_at = float("-inf")
        self._used = 0

    def take(self, now_at: float) -> Verdict:
        """Counts one request made now."""
        if self._limit is None:
            # Without a limit no response carries these two numbers.
            return Verdict(passed=True, remaining=0, reset_seconds=0)
        if now_at < self._blocked_until_at:
            wait = ceil(self._blocked_until_at - now_at)
            return Verdict(passed=False, remaining=0, reset_seconds=wait, retry_seconds=wait)
        if now_at >= self._started_at + self._window_seconds:
            self._started_at, self._used = now_at, 0
        self._used += 1
        if self._used > self._limit:
            self._blocked_until_at = now_at + self._block_seconds
            self._started_at = float("-inf")
            wait = ceil(self._block_seconds)
            return Verdict(passed=False, remaining=0, reset_seconds=wait, retry_seconds=wait)
        return Verdict(
            passed=True,
            remaining=self._limit - self._used,
            reset_seconds=ceil(self._started_at + self._window_seconds - now_at),
        )
