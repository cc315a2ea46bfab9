"""When may the next request go: the allowance of a token, and what the server says of it.

Knows: Cloudflare's documented limit and its ``Ratelimit`` header fields.
Must not know: the clock; the present is a parameter, in seconds that never run backwards.
Its one rule: never send what the server has announced to refuse; being refused blocks the token for minutes.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping

from airflow_audit_provider.exceptions import ConfigurationError

_REMAINING = re.compile(r"(?:^|;)\s*r\s*=\s*(\d+)")
_RESET = re.compile(r"(?:^|;)\s*t\s*=\s*(\d+(?:\.\d+)?)")


class RateBudget:
    """A sliding window over the requests sent: at most ``request_count`` in any ``period_seconds``.

    Documented default: 1200 requests in 300 seconds for one token. Raises ``ConfigurationError`` for a limit
    that allows nothing.
    """

    def __init__(self, request_count: int = 1200, period_seconds: float = 300.0) -> None:
        if request_count < 1 or period_seconds <= 0:
            raise ConfigurationError(
                f"A rate limit of {request_count} requests in {period_seconds} seconds allows nothing. "
                "Give at least one request and a positive period."
            )
        self._period_seconds = period_seconds
        self._sent: deque[float] = deque(maxlen=request_count)
        self._closed_until = 0.0

    def delay_seconds(self, now: float) -> float:
        """Return how long to wait before the next request may go; 0.0 when it may go now."""
        delay = max(0.0, self._closed_until - now)
        if len(self._sent) == self._sent.maxlen:
            delay = max(delay, self._sent[0] + self._period_seconds - now)
        return delay

    def note_sent(self, now: float) -> None:
        """Count one request as sent."""
        self._sent.append(now)

    def note_answer(self, headers: Mapping[str, str], now: float) -> None:
        """Learn from ``Ratelimit: "default";r=50;t=30``: with nothing remaining, close until the reset."""
        field = headers.get("ratelimit", "")
        remaining, reset = _REMAINING.search(field), _RESET.search(field)
        if remaining and reset and int(remaining[1]) == 0:
            self.close_for(float(reset[1]), now)

    def close_for(self, seconds: float, now: float) -> None:
        """Let nothing go for so many seconds."""
        self._closed_until = max(self._closed_until, now + seconds)
