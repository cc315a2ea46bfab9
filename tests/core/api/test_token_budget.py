"""The budget of a token: fair, exact, and safe where something is unknown, damaged or from another clock."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_audit_provider.core.api.rate_limiter import RateLimit
from airflow_audit_provider.core.api.token_budget import (
    BudgetUnavailableError,
    Grant,
    Outcome,
    Sharer,
    Ticket,
    TokenBudget,
    token_digest,
)
from tests.core.rate_limit_runs import remaining_header
from tests.hypothesis_profiles import examples

_LEASE_SECONDS = 60.0
_LIMIT = RateLimit(4, 10)


class Budget:
    """A stored budget with a clock that the test sets; every change passes through its bytes."""

    def __init__(self, limit: RateLimit | None = _LIMIT) -> None:
        self.content: bytes | None = None
        self.now = 1000.0
        self.limit = limit
        self.problems: list[str] = []

    def reserve(self, name: str = "a", ticket: Ticket | None = None, *, distrusting: bool = False) -> Grant:
        """Asks for a request."""
        budget = self._opened(name)
        if distrusting:
            budget.distrust()
        grant = budget.reserve(ticket)
        self.content = budget.content()
        return grant

    def settle(self, grant: Grant, headers: dict[str, str] | None, blocked_seconds: float = 0.0) -> None:
        """Ends a request at the present time."""
        assert grant.sent is not None
        budget = self._opened("a")
        budget.settle(grant.sent, Outcome(0.0, headers, blocked_seconds), 0.0)
        self.content = budget.content()

    def answer(self, name: str = "a", headers: dict[str, str] | None = None) -> None:
        """Sends one request that is answered at once."""
        self.settle(self.reserve(name), headers or {})

    def _opened(self, name: str) -> TokenBudget:
        budget = TokenBudget(self.content, Sharer(name, self.limit, _LEASE_SECONDS), self.now)
        if budget.problem is not None:
            self.problems.append(budget.problem)
        return budget


@pytest.fixture
def budget() -> Budget:
    """A budget whose first request was answered, so that it grants what the limit leaves."""
    known = Budget()
    known.answer()
    return known


def test_sharers_together_send_what_one_limit_allows(budget: Budget) -> None:
    """The requests of all sharers count against one limit."""
    assert [budget.reserve(name).sent is not None for name in "bcda"] == [True, True, True, False]


@examples(150)
@given(
    limit=st.builds(RateLimit, st.integers(1, 5), st.integers(1, 30)),
    steps=st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 20), st.booleans()), max_size=40),
)
def test_no_period_exceeds_the_limit_of_all_sharers(limit: RateLimit, steps: list[tuple[str, float, bool]]) -> None:
    """No period has more requests than the limit, in whatever order sharers ask, with and without responses."""
    budget, sent = Budget(limit), []
    for name, pause, is_lost in steps:
        budget.now += pause
        grant = budget.reserve(name)
        if grant.sent is not None:
            sent.append(budget.now)
            budget.settle(grant, None if is_lost else {})
    for first in sent:
        assert sum(first <= other < first + limit.period_seconds for other in sent) <= limit.request_count


def test_new_budget_waits_for_its_first_response() -> None:
    """A new budget grants one request, and more once it is answered."""
    budget = Budget()
    first = budget.reserve()
    assert first.sent is not None
    assert 0 < budget.reserve("b").delay_seconds <= 0.1
    budget.settle(first, {})
    assert budget.reserve("b").sent is not None


def test_new_budget_does_not_wait_for_a_killed_first_sender() -> None:
    """If the first request is never answered, another is granted after ten seconds."""
    budget = Budget()
    budget.reserve()
    budget.now += 11
    assert budget.reserve("b").sent is not None


def test_first_response_limits_all_sharers() -> None:
    """What the server states to one sharer limits the others."""
    budget = Budget(RateLimit(100, 300))
    budget.answer(headers=remaining_header(2))
    granted = [budget.reserve(name) for name in "bcd"]
    assert [grant.sent is not None for grant in granted] == [True, True, False]
    assert granted[2].delay_seconds == pytest.approx(30.0, abs=0.1)


def test_unused_budget_begins_with_one_request_again(budget: Budget) -> None:
    """After a period without requests, other clients may have used the limit, so one request checks."""
    budget.now += 11
    assert budget.reserve("b").sent is not None
    assert budget.reserve("c").sent is None


def test_block_stops_all_sharers_at_once(budget: Budget) -> None:
    """A refusal of one sharer's request blocks every sharer for the stated time."""
    budget.settle(budget.reserve(), {}, blocked_seconds=300.0)
    assert budget.reserve("b").delay_seconds == pytest.approx(300.0, abs=0.01)
    budget.now += 300.1
    assert budget.reserve("b").sent is not None


def _round(budget: Budget, tickets: list[tuple[str, Ticket]]) -> list[str]:
    """Lets all who wait ask again; returns the names of those that were granted."""
    granted = []
    for index, (name, ticket) in enumerate(list(tickets)):
        grant = budget.reserve(name, ticket)
        tickets[index] = (name, grant.ticket)
        if grant.sent is not None:
            granted.append(name)
            budget.settle(grant, {})
    return granted


def test_task_with_many_threads_does_not_starve_another(budget: Budget) -> None:
    """Six threads of one task and one of another are served in turns, although the six asked first."""
    while budget.reserve("greedy").sent is not None:
        pass
    tickets = [("greedy", budget.reserve("greedy").ticket) for _ in range(6)]
    tickets.append(("modest", budget.reserve("modest").ticket))
    budget.now += 10.3
    granted = _round(budget, tickets)
    assert "modest" in granted


@pytest.mark.parametrize(
    ("limit", "spread"), [(RateLimit(1, 1), 1.15), (RateLimit(5, 10), 2.5), (RateLimit(40, 4), 6.1)]
)
def test_no_task_gets_less_than_its_threads_ask_for_in_turn(limit: RateLimit, spread: float) -> None:
    """Tasks with one, three and six threads share scarce requests equally, and many at once by their threads."""
    counts = _granted(limit, [name for name, count in (("a", 1), ("b", 3), ("c", 6)) for _ in range(count)], 40)
    assert max(counts.values()) <= spread * min(counts.values())
    assert counts.total() >= 0.95 * 40 * limit.request_count


@pytest.mark.parametrize("limit", [RateLimit(10, 1), RateLimit(1, 1), RateLimit(100, 10), RateLimit(300, 15)])
def test_eight_tasks_use_nearly_all_of_any_limit(limit: RateLimit) -> None:
    """Eight tasks with four threads each send at least 95 % of the requests that a limit allows."""
    period_count = max(6, 40 // limit.request_count)
    counts = _granted(limit, [name for name in "abcdefgh" for _ in range(4)], period_count)
    assert counts.total() >= 0.95 * period_count * limit.request_count


def _granted(limit: RateLimit, threads: list[str], period_count: int) -> Counter[str]:
    """Returns how many requests the threads of each task send in so many periods."""
    budget, counts = Budget(limit), Counter[str]()
    budget.answer()
    # Each thread wakes at the time of its grant; a request takes 10 ms.
    wakes: list[tuple[float, int, Ticket | None]] = [(budget.now, index, None) for index in range(len(threads))]
    until = budget.now + period_count * limit.period_seconds
    while (event := heapq.heappop(wakes))[0] < until:
        budget.now, index, ticket = event
        grant = budget.reserve(threads[index], ticket)
        if grant.sent is not None:
            budget.settle(grant, {})
            counts[threads[index]] += 1
        wake_at = budget.now + (0.01 if grant.sent is not None else grant.delay_seconds + 0.001)
        heapq.heappush(wakes, (wake_at, index, None if grant.sent is not None else grant.ticket))
    return counts


def test_ticket_of_a_killed_task_lapses(budget: Budget) -> None:
    """Who never comes back for its turn does not keep the next one from its request."""
    while budget.reserve("killed").sent is not None:
        pass
    budget.reserve("killed")
    waiting = budget.reserve("b")
    budget.now += 1 + waiting.delay_seconds
    assert budget.reserve("b", waiting.ticket).sent is not None


def test_request_of_a_killed_task_ends_after_twenty_seconds() -> None:
    """A request of a killed sender counts as sent after twenty seconds, and no longer than a period more."""
    budget = Budget(RateLimit(1, 10))
    budget.reserve("killed")
    budget.now += 20.1
    waiting = budget.reserve("b")
    assert waiting.delay_seconds == pytest.approx(10.2, abs=0.1)
    budget.now += 10.3
    assert budget.reserve("b", waiting.ticket).sent is not None


def test_late_response_is_not_counted_again(budget: Budget) -> None:
    """A response after more than twenty seconds belongs to a request that is counted already."""
    late = budget.reserve()
    budget.now += 29
    budget.answer("b")
    budget.settle(late, {})
    assert [budget.reserve("c").sent is not None for _ in range(3)] == [True, True, False]


def test_response_of_a_forgotten_request_counts_as_sent_just_now(budget: Budget) -> None:
    """A response to a request that a new budget does not know counts once for each time that it is reported."""
    unknown = budget.reserve()
    budget.content = None
    budget.answer()
    for _ in range(2):
        budget.settle(unknown, {})
    assert [budget.reserve("c").sent is not None for _ in range(2)] == [True, False]


def test_block_after_a_late_response_applies(budget: Budget) -> None:
    """A refusal blocks all sharers, even if its request is given up for lost."""
    late = budget.reserve()
    budget.now += _LEASE_SECONDS + 1
    budget.settle(late, {}, blocked_seconds=300.0)
    assert budget.reserve("b").delay_seconds == pytest.approx(300.0, abs=0.1)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content[:-1],
        lambda content: b"",
        lambda content: b"\0" * 400,
        lambda content: content[:40] + b"\1" + content[41:],
        lambda content: b"text",
    ],
)
def test_damaged_budget_counts_as_full(budget: Budget, change: Callable[[bytes], bytes]) -> None:
    """Torn or foreign bytes are named; one request asks the server, and without its word a whole period is waited."""
    assert budget.content is not None
    budget.content = change(budget.content)
    probe = budget.reserve("b")
    assert probe.sent is not None
    assert budget.problems == ["its content is damaged"]
    assert budget.reserve("c").sent is None
    budget.settle(probe, {})
    assert budget.reserve("c").delay_seconds == pytest.approx(10.2, abs=0.1)


def test_damaged_budget_trusts_what_the_server_states(budget: Budget) -> None:
    """After damage, a response that states what remains opens the budget at once."""
    budget.content = b"torn"
    budget.settle(budget.reserve("b"), remaining_header(3))
    assert budget.reserve("c").sent is not None


def test_return_after_an_outage_asks_the_server_first(budget: Budget) -> None:
    """Requests of an outage are unknown, so one request asks what remains."""
    probe = budget.reserve(distrusting=True)
    assert probe.sent is not None
    assert budget.reserve("b").sent is None


def test_worker_with_a_clock_a_minute_behind_waits_and_sends_no_more(budget: Budget) -> None:
    """A clock a minute behind is named; together the sharers send no more than the limit, and nobody waits for ever."""
    assert [budget.reserve("a").sent is not None for _ in range(4)] == [True, True, True, False]
    budget.now -= 60
    late = budget.reserve("b")
    assert late.sent is None
    assert budget.problems == ["its clock is 60 s behind the time of the last request"]
    budget.now += 60 + 10.5
    assert budget.reserve("b", late.ticket).sent is not None


def test_clock_that_is_far_behind_is_not_believed(budget: Budget) -> None:
    """A clock more than five minutes behind makes the budget unusable instead of stopping all tasks."""
    budget.now -= 301
    with pytest.raises(BudgetUnavailableError, match=r"clock is 301 s behind.* Correct the clock"):
        budget.reserve()


def test_clock_that_jumps_ahead_begins_anew(budget: Budget) -> None:
    """After more than an hour, nothing in the budget applies, not even a block."""
    budget.settle(budget.reserve(), {}, blocked_seconds=80_000.0)
    budget.now += 3601
    assert budget.reserve().sent is not None


def test_sharer_with_a_lower_limit_does_not_shorten_the_memory_of_others(budget: Budget) -> None:
    """A connection with a lower limit of its own leaves the count of the others whole."""
    for _ in range(3):
        budget.answer()
    budget.limit = RateLimit(1, 10)
    assert budget.reserve("b").sent is None
    budget.limit = _LIMIT
    assert budget.reserve("a").sent is None


def test_digest_of_a_token_tells_tokens_apart_and_reveals_none() -> None:
    """Token, login and API each change the digest, and the digest contains none of them."""
    found = {
        token_digest(*given)
        for given in [
            ("https://api.example.com", "", "token-a"),
            ("https://api.example.com", "", "token-b"),
            ("https://api.example.com", "ann", "token-a"),
            ("https://other.example.com", "", "token-a"),
        ]
    }
    assert len(found) == 4
    assert all("token" not in digest and len(digest) == 32 for digest in found)
    assert token_digest("https://API.example.com/", "", "t") == token_digest("https://api.example.com", "", "t")


def test_two_tokens_with_one_digest_share_a_budget_safely() -> None:
    """Two tokens with equal digests stay within one limit together: slower, and never refused."""
    budget = Budget()
    for name in ("first token", "second token"):
        budget.answer(name)
    assert [budget.reserve(name).sent is not None for name in ("first token", "second token", "x")] == [
        True,
        True,
        False,
    ]
