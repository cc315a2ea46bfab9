"""Runs all windows of the campaign and counts what came of them, by lie, version and mode of verification.

Invariant: the numbers of windows are counted from results; none is assumed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tests.campaign.audit_records import SECOND_NS
from tests.campaign.http_host import HttpHost
from tests.campaign.lies import HONEST, LIES
from tests.campaign.lying_server import SCOPES
from tests.campaign.windows import DEFAULT_SEED, MODES, Outcome, Result, WindowName, draw_scenario, run_window

HONEST_COUNTS = {"plain": 330, "edges": 200, "recount": 100}
LIE_COUNT = 9
# A lie that has no effect on a window is drawn again, at most so many times for each window that is wanted.
_MOST_DRAWS = 3
MOST_LOUD_SHARE = 0.02

# Errors of an honest server that are right where all records in reach lie in one second, by what their text contains,
# and why nothing better is possible.
JUSTIFIED = {
    "the end lies within one crowded second, and the API returned no cursor": (
        "all records are in one second, and version 2 does not state the end. A record before this second would prove "
        "that all records of the second were read, but there is none. The other proof also fails: if the direction is "
        "reversed, the server does not exactly reverse the order of the records. So the provider cannot tell whether "
        "the list is complete or cut short"
    ),
    "the API returned status 400": (
        "all records are in one second, and version 1 answers the request for the page after the last page with 400. "
        "A record before this second would prove that all records of the second were read, but there is none. The "
        "other proof also fails: if the direction is reversed, the server does not exactly reverse the order of the "
        "records. So the provider cannot tell whether the 400 means the end of the records or a limit on the number of "
        "pages"
    ),
}

Report = Callable[[Result], None]


class Cell(NamedTuple):
    """One cell of the table."""

    lie: str
    version: str
    mode: str


class Tally:
    """What came of the windows of one cell in which the server acted as the cell's name says."""

    def __init__(self) -> None:
        self.outcomes: Counter[Outcome] = Counter()
        self.fixed_count = 0
        self.killed_count = 0

    def add(self, result: Result) -> None:
        """Counts one result."""
        self.outcomes[result.outcome] += 1
        self.killed_count += result.was_killed
        self.fixed_count += result.outcome is Outcome.SILENT and result.is_fixed_by_next_run

    @property
    def window_count(self) -> int:
        """How many windows were counted."""
        return self.outcomes.total()

    def __str__(self) -> str:
        """Exact, loud and silent, and how many of the silent ones the next run made exact."""
        exact, loud, silent = (self.outcomes[kind] for kind in (Outcome.EXACT, Outcome.LOUD, Outcome.SILENT))
        fixed = f" ({self.fixed_count})" if silent else ""
        return f"{exact} / {loud} / {silent}{fixed}"


class Campaign:
    """The results of all windows that were run."""

    def __init__(self, seed: int = DEFAULT_SEED) -> None:
        self.seed = seed
        self.window_count = self.killed_count = 0
        self.tallies: dict[Cell, Tally] = {}
        self.honest_errors: list[Result] = []
        self.failures: list[Result] = []

    def add(self, result: Result) -> None:
        """Counts a result; one that must not be, on any server or on the honest one, is kept as a failure."""
        name = result.name
        self.window_count += 1
        self.killed_count += result.was_killed
        is_honest = name.lie == HONEST
        if is_honest or result.took_effect:
            self.tallies.setdefault(Cell(name.lie, name.version, name.mode), Tally()).add(result)
        if is_honest and result.outcome is Outcome.LOUD:
            self.honest_errors.append(result)
        if is_failure(result, self.seed):
            self.failures.append(result)

    def honest_share(self, outcome: Outcome) -> float:
        """The share of windows of the honest server that ended so."""
        tallies = [tally for cell, tally in self.tallies.items() if cell.lie == HONEST]
        count = sum(tally.window_count for tally in tallies)
        return sum(tally.outcomes[outcome] for tally in tallies) / count if count else 0.0

    @property
    def is_passed(self) -> bool:
        """Whether nothing was silent on the honest server, nothing hung, and no more was loud than is allowed."""
        return not self.failures and self.honest_share(Outcome.LOUD) <= MOST_LOUD_SHARE


def is_failure(result: Result, seed: int = DEFAULT_SEED) -> bool:
    """Returns whether a result must not be: on the honest server, or, for a hang and an unnamed error, on any."""
    if result.outcome in (Outcome.HANG, Outcome.BROKEN) or result.violations:
        return True
    if result.name.lie != HONEST:
        return False
    return result.outcome is Outcome.SILENT or (result.outcome is Outcome.LOUD and justification(result, seed) is None)


def justification(result: Result, seed: int = DEFAULT_SEED) -> str | None:
    """Returns why an error on the honest server is right, None if it is not known to be."""
    reason = next((reason for text, reason in JUSTIFIED.items() if text in result.error), None)
    return reason if reason is not None and has_one_second(result.name, seed) else None


def has_one_second(name: WindowName, seed: int = DEFAULT_SEED) -> bool:
    """Returns whether no record but those of one second lies in the window or in the two days before it."""
    log = draw_scenario(name, seed).log
    first_ns = log.bounds.start_ns - 2 * 86_400 * SECOND_NS
    return len({row.at_ns // SECOND_NS for row in log.rows if first_ns <= row.at_ns < log.bounds.end_ns}) == 1


def cells() -> Iterator[Cell]:
    """Yields every cell, the honest ones first."""
    for mode in HONEST_COUNTS:
        yield from (Cell(HONEST, version, mode) for version in SCOPES)
    for lie, kind in LIES.items():
        yield from (Cell(lie, version, mode) for version in kind.versions for mode in MODES)


def run_cell(campaign: Campaign, cell: Cell, host: HttpHost, report: Report, count: int | None = None) -> None:
    """Runs the windows of one cell until enough of them are what the cell is about."""
    is_honest = cell.lie == HONEST
    wanted = count or (HONEST_COUNTS[cell.mode] if is_honest else LIE_COUNT)
    effective_count = 0
    for number in range(wanted if is_honest else wanted * _MOST_DRAWS):
        result = run_window(WindowName(cell.lie, cell.version, number, cell.mode), host, campaign.seed)
        campaign.add(result)
        report(result)
        effective_count += is_honest or result.took_effect
        if effective_count == wanted:
            return


def run_campaign(host: HttpHost, report: Report, seed: int = DEFAULT_SEED) -> Campaign:
    """Runs every cell."""
    campaign = Campaign(seed)
    for cell in cells():
        run_cell(campaign, cell, host, report)
    return campaign
