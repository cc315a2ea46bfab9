"""When may the next request go: the allowance of a token, and what the server says of it.

Knows: Cloudflare's documented limit and its ``Ratelimit`` and ``Ratelimit-Policy`` header fields.
Must not know: the clock; the present is a parameter, in seconds that never run backwards.
Its one rule: never send what the server has announced to refuse; being refused blocks the token for minutes.
"""

from __future__ import annotations

import re
from bisect import bisect_left, insort
from collections.abc import Mapping
from math import ceil, inf, isfinite
from typing import NamedTuple

from airflow_audit_provider.core.limits import is_count
from airflow_audit_provider.exceptions import ConfigurationError

_NUMBER = r"\s*=\s*(\d+(?:\.\d+)?)"
_FIELDS = {name: re.compile(rf"(?:^|;)\s*{name}{_NUMBER}") for name in "rtqw"}
_DEFAULT_POLICY = re.compile(r'\s*"?default"?\s*;')
# Clocks differ and requests overtake one another: without this spare a server that counts exactly sees one too many.
_SPARE_SHARE = 0.02
# What is left to others on the same token, once they were seen to use it: this share of the allowance, and what they
# will use until the reset at the rate seen. The rate is taken twice as high, and too few seconds are watched at
# first to trust it; what it holds back is looked at again after a while.
_RESERVE_SHARE = 0.02
_CAUTION = 2.0
_LEAST_WATCHED_SECONDS = 5.0
_LOOK_AGAIN_SECONDS = 10.0
# What a server may announce and be believed; a policy outside is a mistake.
_MOST_REQUESTS, _LONGEST_SECONDS = 1_000_000, 3_600.0
_LONGEST_RESET_SECONDS = 3_600.0
_SHORTEST_LOOK_SECONDS = 0.01


class RateLimit(NamedTuple):
    """At most ``request_count`` requests in any ``period_seconds``."""

    request_count: int
    period_seconds: float

    @property
    def is_possible(self) -> bool:
        """Whether it is a whole number of at least one request in a positive, finite time."""
        return is_count(self.request_count) and isfinite(self.period_seconds) and self.period_seconds > 0


CLOUDFLARE_LIMIT = RateLimit(1200, 300.0)


class SentRequest(NamedTuple):
    """A request that went out: when, and how many had come to their end before."""

    at_seconds: float
    ended_count: int


class RateLimiter:
    """Counts the requests of one token from here, and follows the count the server reports for all its users.

    ``limit`` of None is Cloudflare's documented one, until the server announces another, lower or higher. A limit that
    is given is a ceiling: the server's can only lower it. Raises ``ConfigurationError`` for one that allows nothing.
    Not for several threads at once: whoever shares it takes turns.
    """

    def __init__(self, limit: RateLimit | None = None) -> None:
        if limit is not None and not limit.is_possible:
            raise ConfigurationError(
                f"A rate limit of {limit.request_count} requests in {limit.period_seconds} seconds is impossible. "
                "Give a whole number of at least one request and a positive period."
            )
        self._ceiling = limit
        self._limits = [limit or CLOUDFLARE_LIMIT]
        # Both sorted. When a request reached the server is unknown; what counts is the latest it can have been, told
        # in the time it would have left here to be that late on the quickest way.
        self._arrivals: list[float] = []
        self._under_way: list[float] = []
        self._quickest_seconds = inf
        self._ended_count = 0
        self._closed_until = self._resets_at = 0.0
        # Requests left until the reset: for sure, and as far as nobody else used any that could not be noticed.
        self._surely_left = self._likely_left = 0.0
        self._others_count = 0.0
        self._watched_seconds = 0.0
        self._followed_at = 0.0
        self._uncounted = 0

    def delay_seconds(self, now: float) -> float:
        """Return how long to wait before looking again; 0.0 when a request may go now."""
        opens_at = max([self._closed_until, *(self._frees_at(limit, now) for limit in self._limits)])
        return max(0.0, max(opens_at, self._allowed_at(now)) - now)

    def on_sent(self, now: float) -> SentRequest:
        """Count one request as sent; return what its end is to be noted with."""
        insort(self._under_way, now)
        self._surely_left -= 1
        self._likely_left -= 1
        return SentRequest(now, self._ended_count)

    def on_lost(self, sent: SentRequest, now: float) -> None:
        """Count one request as gone without an answer."""
        self._end(sent, now)

    def on_response(self, sent: SentRequest, headers: Mapping[str, str], now: float) -> None:
        """Learn from an answer: the limits announced, and how many requests remain until the reset."""
        self._quickest_seconds = min(self._quickest_seconds, now - sent.at_seconds)
        arrived_at = self._end(sent, now)
        self._adopt(headers.get("ratelimit-policy", ""))
        announced = headers.get("ratelimit", "")
        remaining, reset_seconds = _number("r", announced), _number("t", announced)
        if remaining is not None and reset_seconds is not None:
            # Not counted yet, perhaps, when the server wrote this: what is under way, and what ended meanwhile.
            uncounted = len(self._under_way) + self._ended_count - sent.ended_count - 1
            self._follow(remaining, uncounted, arrived_at, min(reset_seconds, _LONGEST_RESET_SECONDS))

    def block_for(self, seconds: float, now: float) -> None:
        """Let nothing go for so many seconds."""
        self._closed_until = max(self._closed_until, now + seconds)

    def _end(self, sent: SentRequest, now: float) -> float:
        """Take a request from those under way; return, and keep, when it left at the latest, however slow it was."""
        del self._under_way[bisect_left(self._under_way, sent.at_seconds)]
        arrived_at = self._latest(sent.at_seconds, now)
        self._arrivals.append(arrived_at)  # never earlier than one before, whatever overtook what
        self._ended_count += 1
        del self._arrivals[: -max(limit.request_count for limit in self._limits)]
        return arrived_at

    def _latest(self, sent_at_seconds: float, now: float) -> float:
        return max(sent_at_seconds, now - self._quickest_seconds)

    def _follow(self, remaining: float, uncounted: int, arrived_at: float, reset_seconds: float) -> None:
        """Believe the server's count; the reset, told in whole seconds, is no later than any answer says."""
        self._uncounted, self._surely_left = uncounted, remaining - uncounted
        passed_seconds, self._followed_at = arrived_at - self._followed_at, max(self._followed_at, arrived_at)
        if arrived_at >= self._resets_at:
            self._resets_at = arrived_at + reset_seconds
            self._likely_left = self._surely_left
            return
        self._resets_at = min(self._resets_at, arrived_at + reset_seconds)
        self._watched_seconds += max(0.0, passed_seconds)
        self._others_count += max(0.0, self._likely_left - uncounted - self._surely_left)
        if self._surely_left < self._likely_left - uncounted:
            self._likely_left = self._surely_left
        self._likely_left = max(self._likely_left, self._surely_left)

    def _allowed_at(self, now: float) -> float:
        """Return when the server's count lets the next request go, or when an answer may have told more."""
        if not self._others_count:
            reserve = needed = 1.0
        else:
            reserve = 1 + ceil(_RESERVE_SHARE * max(limit.request_count for limit in self._limits))
            needed = reserve + self._others_per_second() * (self._resets_at - now)
        if self._surely_left >= needed:
            return 0.0
        if self._likely_left < reserve:
            return self._resets_at
        # One request alone finds out exactly; more seldom where others will need what is left.
        if self._under_way:
            look_at = now + max(_SHORTEST_LOOK_SECONDS, min(self._quickest_seconds, 1.0))
        else:
            look_at = 0.0 if self._likely_left >= needed else self._followed_at + _LOOK_AGAIN_SECONDS
        return min(self._resets_at, look_at)

    def _others_per_second(self) -> float:
        """Return how much others use, those included who may have gone unnoticed among our own requests."""
        return _CAUTION * (self._others_count + self._uncounted) / max(self._watched_seconds, _LEAST_WATCHED_SECONDS)

    def _frees_at(self, limit: RateLimit, now: float) -> float:
        """Return when a limit lets the next request go."""
        if len(self._arrivals) + len(self._under_way) < limit.request_count:
            return 0.0
        under_way = [self._latest(sent_at, now) for sent_at in self._under_way]
        counted = sorted([*self._arrivals[-limit.request_count :], *under_way])
        return counted[-limit.request_count] + limit.period_seconds * (1 + _SPARE_SHARE)

    def _adopt(self, policies: str) -> None:
        """Take over ``"burst";q=100;w=60, "default";q=1200;w=300``, one limit for each."""
        announced = [(policy, _limit_in(policy)) for policy in policies.split(",")]
        limits = [limit for _, limit in announced if limit is not None]
        if limits:
            own = self._ceiling or CLOUDFLARE_LIMIT
            # An announced burst adds to the documented limit; one that is the default, or as long, stands for it.
            overruled = self._ceiling is None and any(
                limit.period_seconds >= own.period_seconds or _DEFAULT_POLICY.match(policy)
                for policy, limit in announced
                if limit is not None
            )
            self._limits = limits if overruled else [own, *limits]


def _limit_in(policy: str) -> RateLimit | None:
    """Return the limit a policy announces, None for none that can be believed."""
    count, period_seconds = _number("q", policy), _number("w", policy)
    if count is None or period_seconds is None:
        return None
    if not (1 <= count <= _MOST_REQUESTS and 0 < period_seconds <= _LONGEST_SECONDS):
        return None
    return RateLimit(int(count), period_seconds)


def _number(name: str, field: str) -> float | None:
    match = _FIELDS[name].search(field)
    return float(match[1]) if match else None
