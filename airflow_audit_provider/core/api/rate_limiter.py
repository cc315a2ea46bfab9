"""Rate limiter shared by all requests of one connection: decides when the next request may be sent.

It counts the requests of this process against the documented limit, and follows the quota that the server announces
for all clients that share it. The clock is a parameter, in monotonic seconds. Its state is a value, so that several
processes can share one limiter (``token_budget``).

Invariant: a request that the server has announced to refuse is never sent. Cloudflare API docs, rate limits: "If you
exceed this limit, all API calls for the next five minutes will be blocked, receiving a HTTP 429 response."
"""

from __future__ import annotations

import re
from bisect import bisect_left, insort
from collections.abc import Mapping
from math import ceil, inf, isfinite
from typing import NamedTuple

import msgspec

from airflow_audit_provider.core.limits import is_count
from airflow_audit_provider.core.windows.window import count_of
from airflow_audit_provider.exceptions import ConfigurationError

# Parameters of the IETF draft draft-ietf-httpapi-ratelimit-headers-10, whose form Cloudflare's headers have:
# q, "the quota allocated by this policy"; w, "a time window" in seconds; r, "the remaining quota units for the
# identified policy"; t, "the number of seconds until additional quota associated with the quota policy is made
# available". The draft allows integers only; a decimal fraction is read as well.
_PARAMETERS = {name: re.compile(rf"(?:^|;)\s*{name}\s*=\s*(\d+(?:\.\d+)?)") for name in "rtqw"}
_DEFAULT_POLICY = re.compile(r'\s*"?default"?\s*;')
# Clocks differ and requests overtake one another, so a server that counts exactly could see one request too many
# within its window. Two percent of the period is added to every wait.
_PERIOD_MARGIN = 0.02
# The quota left to other clients, once they were seen using it: this share of the limit, and the requests
# they are expected to send until the reset. Their rate is doubled, because it is measured over a short time, and
# measured over at least five seconds. What is held back is checked again after ten seconds.
_RESERVED_SHARE = 0.02
_OTHERS_RATE_FACTOR = 2.0
_MIN_OBSERVED_SECONDS = 5.0
_RECHECK_SECONDS = 10.0
# Bounds of announced values; a policy outside is taken for a mistake and ignored. A reset is capped, because one wrong
# header must not stop all requests for longer than an hour.
_MAX_QUOTA, _MAX_WINDOW_SECONDS = 1_000_000, 3_600.0
_MAX_RESET_SECONDS = 3_600.0
_MIN_RECHECK_SECONDS = 0.01
# When to ask again while others who wait for the same request go first; they use it within moments.
_OUTRANKED_SECONDS = 0.1


class RateLimit(NamedTuple):
    """At most ``request_count`` requests in any ``period_seconds``."""

    request_count: int
    period_seconds: float

    @property
    def is_possible(self) -> bool:
        """Whether it is a whole number of at least one request in a positive, finite time."""
        return is_count(self.request_count) and isfinite(self.period_seconds) and self.period_seconds > 0

    def per_second(self) -> float:
        """Returns the requests per second over a long time."""
        return self.request_count / self.period_seconds


# Cloudflare API docs, rate limits: "The global rate limit for the Cloudflare API is 1,200 requests per five minute
# period per user, and applies cumulatively regardless of whether the request is made via the dashboard, API key, or API
# token."
CLOUDFLARE_LIMIT = RateLimit(1200, 300.0)


class SentRequest(NamedTuple):
    """A request that was sent: when, and how many requests had ended before."""

    at_seconds: float
    ended_count: int


class Policy(NamedTuple):
    """A limit that the server announced, and whether its name is ``default``."""

    is_default: bool
    limit: RateLimit


class LimiterState(msgspec.Struct, array_like=True):
    """Everything that a rate limiter knows, apart from the limit of its connection."""

    # When a request reached the server is unknown. What counts is the latest possible time, expressed as the time
    # at which a request with the shortest round trip would have been sent. Both lists are sorted.
    arrivals: list[float] = msgspec.field(default_factory=list)
    in_flight: list[float] = msgspec.field(default_factory=list)
    # Older arrivals than so many are of no limit's concern, the limits of all sharers included.
    kept_count: int = 1
    policies: list[Policy] = msgspec.field(default_factory=list)
    shortest_trip_seconds: float = inf
    ended_count: int = 0
    blocked_until: float = 0.0
    resets_at: float = 0.0
    # Requests left until the reset: the certain number, and the likely number if no other client used the token
    # unnoticed.
    certainly_left: float = 0.0
    likely_left: float = 0.0
    others_count: float = 0.0
    observed_seconds: float = 0.0
    updated_at: float = 0.0
    uncounted: int = 0


class RateLimiter:
    """Limits the requests of one connection; call ``on_sent`` and then ``on_response`` or ``on_lost`` for each.

    Without ``limit`` the documented limit applies, until the server announces another, lower or higher. A ``limit``
    that is given is a maximum: the server can only lower it. Raises ``ConfigurationError`` for an impossible limit.

    Not thread-safe: callers that share it must serialize their calls.
    """

    def __init__(self, limit: RateLimit | None = None, state: LimiterState | None = None) -> None:
        if limit is not None and not limit.is_possible:
            raise ConfigurationError(
                f"A rate limit of {count_of(limit.request_count, 'request')} in {limit.period_seconds} seconds is "
                "impossible. "
                "Give a whole number of at least one request and a positive period."
            )
        self._maximum = limit
        self.state = state or LimiterState()
        self._limits = self._limits_under(self.state.policies)

    @property
    def slowest_limit(self) -> RateLimit:
        """The limit that allows the fewest requests a second over a long time."""
        return min(self._limits, key=RateLimit.per_second)

    def delay_seconds(self, now: float, ahead_count: int = 0) -> float:
        """Returns the seconds to wait before calling again; 0.0 if a request may be sent now.

        ``ahead_count`` requests are left to others that have waited longer. While they could use up a whole limit, the
        delay is short but not 0.0.
        """
        free_at = max(self._free_at(limit, now, ahead_count) for limit in self._limits)
        free_at = max(free_at, self.state.blocked_until, self._quota_allows_at(now, ahead_count))
        is_outranked = any(ahead_count >= limit.request_count for limit in self._limits)
        return max(_OUTRANKED_SECONDS if is_outranked else 0.0, free_at - now)

    @property
    def longest_period_seconds(self) -> float:
        """The longest period of a limit that applies, with its margin."""
        return max(limit.period_seconds for limit in self._limits) * (1 + _PERIOD_MARGIN)

    def on_sent(self, now: float) -> SentRequest:
        """Counts a request as sent; returns what ``on_response`` and ``on_lost`` need."""
        insort(self.state.in_flight, now)
        self.state.certainly_left -= 1
        self.state.likely_left -= 1
        return SentRequest(now, self.state.ended_count)

    def on_lost(self, sent: SentRequest, now: float) -> None:
        """Counts a request that got no response; the server may have counted it."""
        self._end(sent, now)

    def on_response(self, sent: SentRequest, headers: Mapping[str, str], now: float) -> None:
        """Updates the limits and the remaining quota from the headers of a response."""
        state = self.state
        state.shortest_trip_seconds = min(state.shortest_trip_seconds, now - sent.at_seconds)
        arrived_at = self._end(sent, now)
        # Cloudflare API docs, rate limits: "Ratelimit-Policy: List of quota policy items, composed of the policy name,
        # the total quota (q) and the time window the quota applies to (w). For example: "burst";q=100;w=60".
        self._apply_policies(headers.get("ratelimit-policy", ""))
        # The same page: "Ratelimit: List of service limit items, composed of the limit name, the remaining quota (r)
        # and the time next window resets (t). For example: "default";r=50;t=30".
        service_limit = headers.get("ratelimit", "")
        remaining, reset_seconds = _parameter("r", service_limit), _parameter("t", service_limit)
        if remaining is not None and reset_seconds is not None:
            # Requests in flight, and those that ended since this one was sent, may not be counted in `r` yet.
            uncounted = len(state.in_flight) + state.ended_count - sent.ended_count - 1
            self._update_quota(remaining, uncounted, arrived_at, min(reset_seconds, _MAX_RESET_SECONDS))

    def block_for(self, seconds: float, now: float) -> None:
        """Blocks all requests for ``seconds``."""
        self.state.blocked_until = max(self.state.blocked_until, now + seconds)

    def _end(self, sent: SentRequest, now: float) -> float:
        """Moves a request from in flight to arrived; returns its latest possible time of arrival."""
        state = self.state
        del state.in_flight[bisect_left(state.in_flight, sent.at_seconds)]
        arrived_at = self._latest_arrival(sent.at_seconds, now)
        insort(state.arrivals, arrived_at)
        state.ended_count += 1
        state.kept_count = max(state.kept_count, *(limit.request_count for limit in self._limits))
        del state.arrivals[: -state.kept_count]
        return arrived_at

    def _latest_arrival(self, sent_at_seconds: float, now: float) -> float:
        return max(sent_at_seconds, now - self.state.shortest_trip_seconds)

    def _update_quota(self, remaining: float, uncounted: int, arrived_at: float, reset_seconds: float) -> None:
        """Adopts the server's remaining quota and time of the reset."""
        state = self.state
        state.uncounted, state.certainly_left = uncounted, remaining - uncounted
        elapsed_seconds, state.updated_at = arrived_at - state.updated_at, max(state.updated_at, arrived_at)
        if arrived_at >= state.resets_at:
            state.resets_at = arrived_at + reset_seconds
            state.likely_left = state.certainly_left
            return
        # Draft-10, 4.1.2: `t` is a whole number of seconds, and Cloudflare rounds its times up. The earliest reset that
        # any response names is therefore the most exact.
        state.resets_at = min(state.resets_at, arrived_at + reset_seconds)
        state.observed_seconds += max(0.0, elapsed_seconds)
        # The limit "applies cumulatively" to all clients of a user: what is missing was used by other clients.
        state.others_count += max(0.0, state.likely_left - uncounted - state.certainly_left)
        if state.certainly_left < state.likely_left - uncounted:
            state.likely_left = state.certainly_left
        state.likely_left = max(state.likely_left, state.certainly_left)

    def _quota_allows_at(self, now: float, ahead_count: int) -> float:
        """Returns when the remaining quota allows the next request, or when a response may have shown more of it.

        Draft-10, 4.1.1: "Clients MUST NOT assume that a positive remaining value is a guarantee that further requests
        will be served". A request that is refused nevertheless is handled by ``retry``.
        """
        state = self.state
        if not state.others_count:
            reserved = needed = 1.0 + ahead_count
        else:
            reserved = 1 + ahead_count + ceil(_RESERVED_SHARE * max(limit.request_count for limit in self._limits))
            needed = reserved + self._others_per_second() * (state.resets_at - now)
        if state.certainly_left >= needed:
            return 0.0
        if state.likely_left < reserved:
            return state.resets_at
        # A single request, with no other in flight, shows the exact number. It is sent at once where the quota is
        # likely to be sufficient, and every ten seconds where other clients are expected to need what is left.
        if state.in_flight:
            recheck_at = now + max(_MIN_RECHECK_SECONDS, min(state.shortest_trip_seconds, 1.0))
        else:
            recheck_at = 0.0 if state.likely_left >= needed else state.updated_at + _RECHECK_SECONDS
        return min(state.resets_at, recheck_at)

    def _others_per_second(self) -> float:
        """Returns the estimated request rate of other clients of this token, assuming uncounted requests are theirs."""
        observed_seconds = max(self.state.observed_seconds, _MIN_OBSERVED_SECONDS)
        return _OTHERS_RATE_FACTOR * (self.state.others_count + self.state.uncounted) / observed_seconds

    def _free_at(self, limit: RateLimit, now: float, ahead_count: int) -> float:
        """Returns when a limit allows the next request, counting only the requests of this limiter."""
        state, count = self.state, limit.request_count
        ahead_count = min(ahead_count, count - 1)
        if len(state.arrivals) + len(state.in_flight) + ahead_count < count:
            return 0.0
        in_flight = [self._latest_arrival(sent_at, now) for sent_at in state.in_flight]
        counted = sorted([*state.arrivals[-count:], *in_flight])
        return counted[ahead_count - count] + limit.period_seconds * (1 + _PERIOD_MARGIN)

    def _apply_policies(self, text: str) -> None:
        """Adopts announced policies such as ``"burst";q=100;w=60, "default";q=1200;w=300``, one limit for each."""
        policies = [(_DEFAULT_POLICY.match(policy) is not None, _limit_of(policy)) for policy in text.split(",")]
        announced = [Policy(is_default, limit) for is_default, limit in policies if limit is not None]
        if announced:
            self.state.policies = announced
            self._limits = self._limits_under(announced)

    def _limits_under(self, announced: list[Policy]) -> list[RateLimit]:
        """Returns the limits that apply: the announced ones and, unless one of them replaces it, the own one."""
        own = self._maximum or CLOUDFLARE_LIMIT
        # Draft-10, 2: "more than one quota policy can affect a given request". A burst policy applies in addition to
        # the documented limit; a policy that is the default, or as long, replaces it. It may be higher: Cloudflare API
        # docs, rate limits: "Enterprise customers can also contact Cloudflare Support to raise the Client API per user,
        # GraphQL, or API token limits to a higher value."
        replaces_own = self._maximum is None and any(
            policy.is_default or policy.limit.period_seconds >= own.period_seconds for policy in announced
        )
        limits = [policy.limit for policy in announced]
        return limits if replaces_own else [own, *limits]


def _limit_of(policy: str) -> RateLimit | None:
    """Returns the limit that a policy announces; None if it has no usable one.

    Draft-10 makes ``w`` optional and allows a quota of zero; neither can be applied as a limit.
    """
    count, period_seconds = _parameter("q", policy), _parameter("w", policy)
    if count is None or period_seconds is None:
        return None
    if not (1 <= count <= _MAX_QUOTA and 0 < period_seconds <= _MAX_WINDOW_SECONDS):
        return None
    return RateLimit(int(count), period_seconds)


def _parameter(name: str, item: str) -> float | None:
    match = _PARAMETERS[name].search(item)
    return float(match[1]) if match else None
