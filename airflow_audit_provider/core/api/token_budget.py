"""Request budget of one token, shared by every process that uses it: one rate limiter, a queue, and leases.

A store keeps the budget as bytes, applies one change at a time, and states the time on a clock that all sharers see
alike. This module makes the changes: values in, values out.

A request is granted as a lease, because its sender may be killed. After the time in which any request reaches the
server, or fails, the lease counts as a request that the server has just seen. A request that has to wait gets a ticket.
Tickets are served in turns, one of each sharer in a turn, so that no task starves beside one with many threads. A
ticket that is not used soon after its time lapses.

Invariant: what is unknown is never taken for free. A new, long unused or damaged budget sends one request, and the
others when its response states what remains.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol, TypeVar

import msgspec

from airflow_audit_provider.core.api.rate_limiter import LimiterState, RateLimit, RateLimiter, SentRequest

_Result = TypeVar("_Result")

# The first bytes of a budget, and the number of bytes of the digest that follows them.
_MAGIC = b"CFBUDGET1"
_DIGEST_BYTES = 16
HEADER_BYTES = len(_MAGIC) + _DIGEST_BYTES
# A waiting thread may wake late. Its place is kept for so long, which delays only those behind it.
_GRACE_SECONDS = 0.1
# Others wait for the response to the first request of a new budget, but no longer than this: its sender may be killed.
_PROBE_SECONDS = 10.0
_PROBE_POLL_SECONDS = 0.05
# The first requests also open connections, so their round trips say little about when a later one reaches the server.
# Until so many were measured, a request counts as sent when it ended, the latest possible time.
_MEASURED_TRIPS = 12
# A budget that nobody used for longer than any window of a limit says nothing.
_FORGOTTEN_AFTER_SECONDS = 3_600.0
# A clock that stepped back makes all sharers wait until it has caught up. For more than this, the budget is not used.
MAX_CLOCK_STEP_SECONDS = 300.0
# The longest time until a granted request reaches the server: ten seconds to connect, and as long for a slow look-up of
# the name or a slow proxy. A request of a killed task takes part of the limit for so long, besides its period.
_ARRIVAL_SECONDS = 20.0
# So that two grants never have the same time, which identifies them.
_TICK_SECONDS = 1e-6
# Longer than any block that the rate limiter accepts.
_MAX_WAIT_SECONDS = 86_400.0


class BudgetUnavailableError(Exception):
    """The store of a budget cannot be used; the message says why and what to do. Never fails a task."""


class Sharer(NamedTuple):
    """One user of a budget: its name, its own limit, and the longest time until a response."""

    name: str
    limit: RateLimit | None
    lease_seconds: float


class Ticket(NamedTuple):
    """Place in the queue: a lower turn goes first, and in a turn the lower number."""

    turn: int
    number: int


class Grant(NamedTuple):
    """The answer to a sharer: ``sent`` for a request that may be sent now, otherwise the time to wait."""

    ticket: Ticket
    delay_seconds: float = 0.0
    sent: SentRequest | None = None


class Outcome(NamedTuple):
    """What came of a granted request: the headers of its response, None if it was lost, and how long it is blocked.

    ``ended_at_seconds`` is the end of the request on the monotonic clock of the process.
    """

    ended_at_seconds: float
    headers: Mapping[str, str] | None = None
    blocked_seconds: float = 0.0


class RequestBudget(Protocol):
    """Budget of a token as a reader uses it; both calls may block for a short time."""

    def reserve(self, ticket: Ticket | None) -> Grant | None:
        """Asks for a request; returns None while the budget cannot be used."""
        ...

    def settle(self, grant: Grant, outcome: Outcome) -> None:
        """Reports what came of a granted request."""
        ...


class BudgetStore(Protocol):
    """Keeps the bytes of one budget."""

    def update(self, change: Callable[[bytes | None, float], tuple[bytes, _Result]]) -> _Result:
        """Replaces the bytes by those that ``change`` makes of them and of the store's time, and returns its result.

        ``change`` has no side effect and may be called several times. Raises ``BudgetUnavailableError``.
        """
        ...


class SharedRateLimiter(RateLimiter):
    """Rate limiter of one sharer of a budget; it decides alone while the budget cannot be used."""

    def __init__(self, limit: RateLimit | None, budget: RequestBudget) -> None:
        super().__init__(limit)
        self.budget = budget


class _Waiting(NamedTuple):
    ticket: Ticket
    lapses_at: float


class _Lease(NamedTuple):
    """A granted request: in flight until it must have reached the server, and known until its response must be here."""

    granted_at: float
    arrives_by: float
    expires_at: float
    has_arrived: bool = False


class _State(msgspec.Struct, array_like=True):
    limiter: LimiterState
    updated_at: float
    # A new budget sends one request first; until its response, `probe_at` is the time of its grant. Before that it is
    # the time since which the budget is in doubt: the response to an older request does not end it.
    is_probing: bool = True
    probe_at: float = 0.0
    # Requests that the budget does not know of may count until then, unless the server states what remains.
    suspect_until: float = 0.0
    trips: list[float] = msgspec.field(default_factory=list)
    leases: list[_Lease] = msgspec.field(default_factory=list)
    waiting: list[_Waiting] = msgspec.field(default_factory=list)
    # The turn that is being served, the last turn that each waiting sharer has a ticket of, the number of tickets.
    turn: int = 0
    last_turns: dict[str, int] = msgspec.field(default_factory=dict)
    ticket_count: int = 0


class TokenBudget:
    """A budget at one instant; ``problem`` says what was wrong with its bytes or its time, if anything was."""

    def __init__(self, content: bytes | None, sharer: Sharer, now: float) -> None:
        self._sharer = sharer
        stored, self.problem = _read(content, now)
        self._state = stored or _State(LimiterState(shortest_trip_seconds=0.0), now)
        idle_seconds = now - self._state.updated_at
        # The store's time never goes back, and no two changes have the same.
        self._now = max(now, self._state.updated_at + _TICK_SECONDS)
        self._state.updated_at = self._now
        self._limiter = RateLimiter(sharer.limit, self._state.limiter)
        if self.problem is not None and stored is None:
            self.distrust()
        elif idle_seconds > self._limiter.longest_period_seconds:
            # Other clients of the token may have used the limit meanwhile.
            self._state.is_probing, self._state.probe_at = True, self._now
        self._expire()

    def content(self) -> bytes:
        """Returns the budget as bytes, which begin with their digest."""
        payload = msgspec.msgpack.encode(self._state)
        return _MAGIC + _digest(payload) + payload

    def distrust(self) -> None:
        """Begins anew as if the limit were used up by requests that the budget does not know of."""
        self._state.is_probing, self._state.probe_at = True, self._now
        self._state.suspect_until = self._now + self._limiter.longest_period_seconds

    def reserve(self, ticket: Ticket | None) -> Grant:
        """Grants a request, or keeps a place in the queue."""
        state = self._state
        ticket = ticket or self._new_ticket()
        state.waiting = [waiting for waiting in state.waiting if waiting.ticket != ticket]
        delay = min(_MAX_WAIT_SECONDS, self._delay_seconds(sum(waiting.ticket < ticket for waiting in state.waiting)))
        if delay > 0:
            state.waiting.append(_Waiting(ticket, self._now + delay + _GRACE_SECONDS))
            return Grant(ticket, delay)
        state.turn = max(state.turn, ticket.turn)
        if state.is_probing:
            state.probe_at = self._now
        longest = self._sharer.lease_seconds
        state.leases.append(_Lease(self._now, self._now + min(_ARRIVAL_SECONDS, longest), self._now + longest))
        return Grant(ticket, sent=self._limiter.on_sent(self._now))

    def settle(self, sent: SentRequest, outcome: Outcome, elapsed_seconds: float) -> None:
        """Counts a request that ended ``elapsed_seconds`` ago; one that is unknown counts as sent just now."""
        ended_at = max(sent.at_seconds, self._now - max(0.0, elapsed_seconds))
        lease = next((lease for lease in self._state.leases if lease.granted_at == sent.at_seconds), None)
        if lease is None:
            self._limiter.on_lost(self._limiter.on_sent(self._now), self._now)
        else:
            self._state.leases.remove(lease)
        if lease is not None and not lease.has_arrived:
            self._end(sent, outcome.headers, ended_at)
        if outcome.blocked_seconds > 0:
            self._limiter.block_for(outcome.blocked_seconds, self._now if lease is None else ended_at)

    def _end(self, sent: SentRequest, headers: Mapping[str, str] | None, ended_at: float) -> None:
        if headers is None:
            self._limiter.on_lost(sent, ended_at)
        else:
            self._measure_trip(ended_at - sent.at_seconds)
            self._limiter.on_response(sent, headers, ended_at)
            if sent.at_seconds >= self._state.probe_at:
                self._end_probe()

    def _measure_trip(self, seconds: float) -> None:
        state = self._state
        if len(state.trips) < _MEASURED_TRIPS:
            state.trips.append(seconds)
            is_measured = len(state.trips) == _MEASURED_TRIPS
            state.limiter.shortest_trip_seconds = min(state.trips) if is_measured else 0.0

    def _end_probe(self) -> None:
        """Trusts the budget again if the server states what remains; otherwise waits until nothing unknown counts."""
        state = self._state
        if state.is_probing and state.suspect_until > self._now and state.limiter.resets_at <= self._now:
            self._limiter.block_for(state.suspect_until - self._now, self._now)
        state.is_probing, state.suspect_until = False, 0.0

    def _delay_seconds(self, ahead_count: int) -> float:
        delay = self._limiter.delay_seconds(self._now, ahead_count)
        if delay == 0 and self._is_probe_open():
            return _PROBE_POLL_SECONDS
        return delay

    def _is_probe_open(self) -> bool:
        """Whether others have to wait for the first request of a new budget."""
        state = self._state
        if not state.is_probing or self._now > state.probe_at + _PROBE_SECONDS:
            return False
        return any(lease.granted_at == state.probe_at for lease in state.leases)

    def _new_ticket(self) -> Ticket:
        state, name = self._state, self._sharer.name
        turn = max(state.turn, state.last_turns.get(name, 0)) + 1
        state.last_turns = {other: last for other, last in state.last_turns.items() if last > state.turn}
        state.last_turns[name] = turn
        state.ticket_count += 1
        return Ticket(turn, state.ticket_count)

    def _expire(self) -> None:
        """Counts requests that have reached the server by now, and forgets what is no longer waited for."""
        state, now = self._state, self._now
        for index, lease in enumerate(state.leases):
            if not lease.has_arrived and lease.arrives_by <= now:
                self._limiter.on_lost(SentRequest(lease.granted_at, state.limiter.ended_count), lease.arrives_by)
                state.leases[index] = lease._replace(has_arrived=True)
        state.leases = [lease for lease in state.leases if lease.expires_at > now]
        state.waiting = [waiting for waiting in state.waiting if waiting.lapses_at >= now]


def _read(content: bytes | None, now: float) -> tuple[_State | None, str | None]:
    """Returns the stored state, None for one that is damaged or says nothing any more, and what is wrong with it."""
    if content is None:
        return None, None
    state = _decoded(content)
    if state is None:
        return None, "its content is damaged"
    behind_seconds = state.updated_at - now
    problem = f"its clock is {behind_seconds:.0f} s behind the time of the last request"
    if behind_seconds > MAX_CLOCK_STEP_SECONDS:
        raise BudgetUnavailableError(f"{problem}. Correct the clock, or wait until it has caught up")
    is_current = now < state.updated_at + _FORGOTTEN_AFTER_SECONDS
    return state if is_current else None, problem if behind_seconds > 1.0 else None


def _digest(payload: bytes) -> bytes:
    return hashlib.blake2b(payload, digest_size=_DIGEST_BYTES).digest()


def _decoded(content: bytes) -> _State | None:
    """Returns the state; None for bytes that are not a whole one."""
    payload = content[HEADER_BYTES:]
    if content[:HEADER_BYTES] != _MAGIC + _digest(payload):
        return None
    try:
        return msgspec.msgpack.decode(payload, type=_State)
    except msgspec.DecodeError:
        # A digest that is right, over a state of another shape: written by another version.
        return None


def token_digest(base_url: str, login: str, secret: str) -> str:
    """Returns the name of a token's budget; it does not reveal the token.

    Two tokens with the same digest would share one budget: they would be slower, and nothing else.
    """
    content = "\0".join((base_url.rstrip("/").lower(), login, secret)).encode()
    return hashlib.blake2b(content, digest_size=16, person=b"cf-audit-budget").hexdigest()
