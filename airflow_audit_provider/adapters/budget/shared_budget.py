"""Client of a token's shared budget: asks the store, and reports an outage of it once, when it begins.

Invariant: an unusable store never fails a request. The caller's own rate limiter decides until the store works again.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar

from airflow_audit_provider.core.api.rate_limiter import RateLimit
from airflow_audit_provider.core.api.token_budget import (
    BudgetStore,
    BudgetUnavailableError,
    Grant,
    Outcome,
    Sharer,
    Ticket,
    TokenBudget,
)
from airflow_audit_provider.core.ports import Clock

_Result = TypeVar("_Result")
# A change of a budget, and whether the store was unusable before it: then requests were sent that the budget does not
# know of.
_Update = Callable[[TokenBudget, bool], _Result]

# An unusable store is tried again after so many seconds, because each try may wait for a time-out.
_RETRY_SECONDS = 10.0


class BudgetEvents(Protocol):
    """Is called when a budget cannot be used, can be used again, or was damaged."""

    def on_outage(self, reason: str) -> None:
        """Reports the beginning of an outage."""
        ...

    def on_recovery(self) -> None:
        """Reports the end of an outage."""
        ...

    def on_problem(self, problem: str) -> None:
        """Reports damage that the budget has recovered from."""
        ...


class SharedBudget:
    """Implements ``RequestBudget`` over a store, for the requests of one task; safe to use from several threads."""

    def __init__(
        self,
        store: BudgetStore,
        limit: RateLimit | None,
        lease_seconds: float,
        clock: Clock,
        events: BudgetEvents,
    ) -> None:
        self._store = store
        self._sharer = Sharer(secrets.token_hex(8), limit, lease_seconds)
        self._clock = clock
        self._events = events
        self._lock = threading.Lock()
        self._retry_at: float | None = None

    def reserve(self, ticket: Ticket | None) -> Grant | None:
        """Asks for a request; returns None while the store cannot be used."""

        def reserved(budget: TokenBudget, was_lost: bool) -> Grant:
            if was_lost:
                budget.distrust()
            return budget.reserve(ticket)

        return self._updated(reserved)

    def settle(self, grant: Grant, outcome: Outcome) -> None:
        """Reports what came of a granted request. If that fails, its lease expires."""
        sent = grant.sent
        if sent is None:
            return

        def settled(budget: TokenBudget, was_lost: bool) -> bool:
            budget.settle(sent, outcome, self._clock.monotonic() - outcome.ended_at_seconds)
            if was_lost:
                # Afterwards: what the server stated before the outage says nothing about the requests in it.
                budget.distrust()
            return True

        self._updated(settled)

    def _updated(self, update: _Update[_Result]) -> _Result | None:
        """Applies a change to the stored budget; returns None if the store cannot be used."""
        # Read once: another thread may end the outage at any moment.
        retry_at = self._retry_at
        if retry_at is not None and self._clock.monotonic() < retry_at:
            return None
        change = partial(self._change, lambda budget: update(budget, retry_at is not None))
        try:
            result, problem = self._store.update(change)
        except BudgetUnavailableError as error:
            self._note_outage(str(error))
            return None
        self._note_success(problem)
        return result

    def _change(
        self, update: Callable[[TokenBudget], _Result], content: bytes | None, now: float
    ) -> tuple[bytes, tuple[_Result, str | None]]:
        budget = TokenBudget(content, self._sharer, now)
        result = update(budget)
        return budget.content(), (result, budget.problem)

    def _note_outage(self, reason: str) -> None:
        with self._lock:
            is_new = self._retry_at is None
            self._retry_at = self._clock.monotonic() + _RETRY_SECONDS
        if is_new:
            self._events.on_outage(reason)

    def _note_success(self, problem: str | None) -> None:
        with self._lock:
            is_recovered = self._retry_at is not None
            self._retry_at = None
        if is_recovered:
            self._events.on_recovery()
        if problem is not None:
            self._events.on_problem(problem)
