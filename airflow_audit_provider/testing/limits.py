"""The rate limit: so many requests a window, then nothing at all for a while.

Knows: how many requests were made in the current window, and until when the block lasts.
Must not know: HTTP, or what was asked.
Its one rule: while blocked everything is refused, and asking does not make the block longer.
"""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

from airflow_audit_provider.testing.settings import Settings


class Verdict(NamedTuple):
    """Whether a request may pass; requests left and seconds to the next window; seconds to wait when blocked."""

    passed: bool
    remaining: int
    reset_seconds: int
    retry_seconds: int = 0


class RateLimit:
    """A fixed window that starts with the first request after the last one ended; times are seconds of any clock."""

    def __init__(self, settings: Settings) -> None:
        self._limit = settings.requests_per_window
        self._window_seconds = settings.window_seconds
        self._block_seconds = settings.block_seconds
        self._started_at = float("-inf")
        self._blocked_until_at = float("-inf")
        self._used = 0

    def take(self, now_at: float) -> Verdict:
        """Count one request made now."""
        if self._limit is None:
            # No answer tells of a limit where there is none, so nobody reads the two numbers.
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
