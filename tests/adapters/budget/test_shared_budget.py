"""The client of a shared budget: an unusable store is reported once and stops no request."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest

from airflow_audit_provider.adapters.budget.shared_budget import SharedBudget
from airflow_audit_provider.core.api.rate_limiter import RateLimit
from airflow_audit_provider.core.api.token_budget import BudgetUnavailableError, Grant, Outcome
from airflow_audit_provider.testing.clock import ManualClock
from tests.core.rate_limit_runs import remaining_header

_Result = TypeVar("_Result")


class MemoryStore:
    """Keeps the bytes in memory, and fails while ``failure`` is set."""

    def __init__(self) -> None:
        self.content: bytes | None = None
        self.now = 500.0
        self.failure: str | None = None
        self.tries = 0

    def update(self, change: Callable[[bytes | None, float], tuple[bytes, _Result]]) -> _Result:
        """Applies a change twice, as a store may that has to try again; the second counts."""
        self.tries += 1
        if self.failure is not None:
            raise BudgetUnavailableError(self.failure)
        change(self.content, self.now)
        self.content, result = change(self.content, self.now)
        return result


class Log:
    """Keeps the events of a budget."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def on_outage(self, reason: str) -> None:
        """Keeps an outage."""
        self.events.append(f"outage: {reason}")

    def on_recovery(self) -> None:
        """Keeps a recovery."""
        self.events.append("recovery")

    def on_problem(self, problem: str) -> None:
        """Keeps a problem."""
        self.events.append(f"problem: {problem}")


class Sharing:
    """A budget of two requests in ten seconds with its store, clock and log."""

    def __init__(self) -> None:
        self.store, self.clock, self.log = MemoryStore(), ManualClock(), Log()
        self.budget = SharedBudget(self.store, RateLimit(2, 10), 60.0, self.clock, self.log)

    def answered(self, headers: dict[str, str] | None = None) -> Grant:
        """Sends a request that is answered at once."""
        grant = self.budget.reserve(None)
        assert grant is not None
        self.budget.settle(grant, Outcome(self.clock.monotonic(), headers or {}))
        return grant


@pytest.fixture
def sharing() -> Sharing:
    """A budget whose store works."""
    return Sharing()


def test_change_that_is_tried_again_counts_once(sharing: Sharing) -> None:
    """A store may apply a change several times; the request counts once."""
    assert sharing.answered().sent is not None
    assert sharing.answered().sent is not None
    last = sharing.budget.reserve(None)
    assert last is not None
    assert last.sent is None


def test_unusable_store_is_reported_once_and_tried_every_ten_seconds(sharing: Sharing) -> None:
    """During an outage, requests are not delayed by the store, and the log has one warning."""
    sharing.store.failure = "gone"
    assert [sharing.budget.reserve(None) for _ in range(5)] == [None] * 5
    assert (sharing.store.tries, sharing.log.events) == (1, ["outage: gone"])
    sharing.clock.sleep(10.1)
    assert sharing.budget.reserve(None) is None
    assert (sharing.store.tries, sharing.log.events) == (2, ["outage: gone"])


def test_store_that_works_again_grants_one_request_first(sharing: Sharing) -> None:
    """After an outage the server is asked what remains, before the budget grants more."""
    sharing.answered()
    sharing.store.failure = "gone"
    assert sharing.budget.reserve(None) is None
    sharing.store.failure = None
    sharing.clock.sleep(10.1)
    probe, other = sharing.budget.reserve(None), sharing.budget.reserve(None)
    assert probe is not None
    assert probe.sent is not None
    assert other is not None
    assert other.sent is None
    assert sharing.log.events == ["outage: gone", "recovery"]
    sharing.budget.settle(probe, Outcome(sharing.clock.monotonic(), remaining_header(0)))
    last = sharing.budget.reserve(None)
    assert last is not None
    assert last.delay_seconds == pytest.approx(30.0, abs=0.1)


def test_response_during_an_outage_raises_nothing(sharing: Sharing) -> None:
    """A request whose end cannot be reported keeps its lease until it expires."""
    grant = sharing.budget.reserve(None)
    assert grant is not None
    sharing.store.failure = "gone"
    sharing.budget.settle(grant, Outcome(sharing.clock.monotonic(), {}))
    assert sharing.log.events == ["outage: gone"]


def test_damaged_content_is_reported(sharing: Sharing) -> None:
    """Damage is named in the log, once, and replaced by a whole budget."""
    sharing.store.content = b"no budget"
    sharing.answered()
    sharing.answered(remaining_header(1))
    assert sharing.log.events == ["problem: its content is damaged"]


def _after_an_outage(sharing: Sharing) -> tuple[SharedBudget, Grant]:
    """Returns a budget at the end of an outage, and the grant of a request that was sent before it."""
    budget = SharedBudget(sharing.store, RateLimit(100, 60), 60.0, sharing.clock, sharing.log)
    first = budget.reserve(None)
    assert first is not None
    budget.settle(first, Outcome(sharing.clock.monotonic(), {}))
    older = budget.reserve(None)
    assert older is not None
    sharing.store.failure = "gone"
    assert budget.reserve(None) is None
    sharing.store.failure = None
    sharing.clock.sleep(10.1)
    sharing.store.now += 10.1
    return budget, older


def test_response_that_ends_an_outage_does_not_hide_its_requests(sharing: Sharing) -> None:
    """An older response that comes first after an outage hides no request of that outage."""
    budget, older = _after_an_outage(sharing)
    budget.settle(older, Outcome(sharing.clock.monotonic(), remaining_header(99)))
    probe, other = budget.reserve(None), budget.reserve(None)
    assert probe is not None
    assert probe.sent is not None
    assert other is not None
    assert other.sent is None


def test_store_that_recovers_in_another_thread_raises_nothing(sharing: Sharing) -> None:
    """Between two looks at the time of the next try, another thread may end the outage."""
    sharing.store.failure = "gone"
    assert sharing.budget.reserve(None) is None
    sharing.store.failure = None
    sharing.clock.sleep(10.1)
    monotonic, is_first = sharing.clock.monotonic, [True]

    def recovering() -> float:
        if is_first:
            is_first.clear()
            sharing.budget.reserve(None)
        return monotonic()

    sharing.clock.monotonic = recovering  # type: ignore[method-assign]  # the test takes the clock's place
    assert sharing.budget.reserve(None) is not None


def test_response_from_before_an_outage_does_not_end_the_question_what_remains(sharing: Sharing) -> None:
    """A response to a request from before an outage says nothing about the outage."""
    budget, older = _after_an_outage(sharing)
    probe = budget.reserve(None)
    assert probe is not None
    assert probe.sent is not None
    budget.settle(older, Outcome(sharing.clock.monotonic(), remaining_header(99)))
    waiting = budget.reserve(None)
    assert waiting is not None
    assert waiting.sent is None
    budget.settle(probe, Outcome(sharing.clock.monotonic(), remaining_header(98)))
    granted = budget.reserve(waiting.ticket)
    assert granted is not None
    assert granted.sent is not None
