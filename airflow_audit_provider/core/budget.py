"""When may the next request go: the allowance of a token, and what the server says of it.

Knows: Cloudflare's documented limit and its ``Ratelimit`` and ``Ratelimit-Policy`` header fields.
Must not know: the clock; the present is a parameter, in seconds that never run backwards.
Its one rule: never send what the server has announced to refuse; being refused blocks the token for minutes.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from airflow_audit_provider.exceptions import ConfigurationError

_NUMBER = r"\s*=\s*(\d+(?:\.\d+)?)"
_FIELDS = {name: re.compile(rf"(?:^|;)\s*{name}{_NUMBER}") for name in "rtqw"}
# A request leaves here and arrives there a little later or earlier than its neighbours: without this spare a server
# that counts exactly sees one too many in its window.
_SPARE_SHARE = 0.02
# What a server may announce and be believed; a policy outside is a mistake.
_MOST_REQUESTS, _LONGEST_SECONDS = 1_000_000, 3_600.0
_LONGEST_RESET_SECONDS = 3_600.0


class RateLimit(NamedTuple):
    """At most ``request_count`` requests in any ``period_seconds``."""

    request_count: int
    period_seconds: float


CLOUDFLARE_LIMIT = RateLimit(1200, 300.0)


class RateBudget:
    """Counts the requests of one token from here, and follows the count the server reports for all its users.

    ``limit`` of None is Cloudflare's documented one, until the server announces another, lower or higher. A limit that
    is given is a ceiling: the server's can only lower it. Raises ``ConfigurationError`` for one that allows nothing.
    """

    def __init__(self, limit: RateLimit | None = None) -> None:
        if limit is not None and (limit.request_count < 1 or limit.period_seconds <= 0):
            raise ConfigurationError(
                f"A rate limit of {limit.request_count} requests in {limit.period_seconds} seconds allows nothing. "
                "Give at least one request and a positive period."
            )
        self._ceiling = limit
        self._limits = [limit or CLOUDFLARE_LIMIT]
        self._sent: deque[float] = deque()
        self._under_way_count = 0
        self._remaining: float = float("inf")
        self._closed_until = 0.0
        self._resets_at = 0.0

    def delay_seconds(self, now: float) -> float:
        """Return how long to wait before the next request may go; 0.0 when it may go now."""
        opens_at = max([self._closed_until, *(self._frees_at(limit) for limit in self._limits)])
        if self._remaining < 1:
            opens_at = max(opens_at, self._resets_at)
        return max(0.0, opens_at - now)

    def note_sent(self, now: float) -> None:
        """Count one request as sent."""
        if now >= self._resets_at:
            self._remaining = float("inf")
        self._sent.append(now)
        self._under_way_count += 1
        self._remaining -= 1
        while len(self._sent) > max(limit.request_count for limit in self._limits):
            self._sent.popleft()

    def note_lost(self) -> None:
        """Count one request as gone without an answer."""
        self._under_way_count -= 1

    def note_answer(self, headers: Mapping[str, str], now: float) -> None:
        """Learn from an answer: the limits announced, and how many requests remain until the reset.

        Requests still under way were not counted by the server when it answered, so they are taken off.
        """
        self._under_way_count -= 1
        self._adopt(headers.get("ratelimit-policy", ""))
        announced = headers.get("ratelimit", "")
        remaining, reset = _number("r", announced), _number("t", announced)
        if remaining is not None and reset is not None:
            self._remaining = remaining - self._under_way_count
            self._resets_at = now + min(reset, _LONGEST_RESET_SECONDS)

    def close_for(self, seconds: float, now: float) -> None:
        """Let nothing go for so many seconds."""
        self._closed_until = max(self._closed_until, now + seconds)

    def _frees_at(self, limit: RateLimit) -> float:
        """Return when a limit lets the next request go."""
        if len(self._sent) < limit.request_count:
            return 0.0
        return self._sent[-limit.request_count] + limit.period_seconds * (1 + _SPARE_SHARE)

    def _adopt(self, policies: str) -> None:
        """Take over ``"burst";q=100;w=60, "default";q=1200;w=300``, one limit for each."""
        found = [(_number("q", policy), _number("w", policy)) for policy in policies.split(",")]
        announced = [
            RateLimit(int(count), period)
            for count, period in found
            if count is not None and period is not None
            if 1 <= count <= _MOST_REQUESTS and 0 < period <= _LONGEST_SECONDS
        ]
        if announced:
            own = self._ceiling or CLOUDFLARE_LIMIT
            # An announced limit of another length adds to the documented one; one as long or longer stands for it.
            overruled = self._ceiling is None and any(limit.period_seconds >= own.period_seconds for limit in announced)
            self._limits = announced if overruled else [own, *announced]


def _number(name: str, field: str) -> float | None:
    match = _FIELDS[name].search(field)
    return float(match[1]) if match else None
