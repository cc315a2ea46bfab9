"""Figures of a goal, and whether they reach it.

Invariant: a row is reached only if every figure of it was measured and is within the goal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

# A CPU time may be larger than another by this share, or by as much as such a short measurement varies.
SHARE, SECONDS = 0.10, 0.01
NOT_MEASURED = "not measured"


class Figure(NamedTuple):
    """A measured value as text; ``is_reached`` is None if it was not measured. One of several has a label."""

    label: str
    text: str
    is_reached: bool | None

    def __str__(self) -> str:
        return f"{self.label}: {self.text}" if self.label else self.text


class Row(NamedTuple):
    """A kind of work, the goal for its cost, the figures, and the page, command or test that has them too."""

    work: str
    goal: str
    figures: Sequence[Figure]
    source: str

    @property
    def word(self) -> str:
        """Whether the goal is reached; if some figures are above it, their labels."""
        above = [figure for figure in self.figures if figure.is_reached is False]
        if above:
            labels = "; ".join(figure.label for figure in above)
            return f"**no**: {labels}" if labels and len(above) < len(self.figures) else "**no**"
        is_measured = bool(self.figures) and all(figure.is_reached for figure in self.figures)
        return "yes" if is_measured else NOT_MEASURED

    def line(self) -> str:
        """Returns the row of the table."""
        now = "; ".join(map(str, self.figures))
        return f"| {self.work} | {self.goal} | {now} | {self.word} | {self.source} |"


class Cost(NamedTuple):
    """Calls and CPU seconds of a task after a history."""

    calls: int
    cpu_seconds: float

    def __str__(self) -> str:
        return f"{self.calls:,} calls, {self.cpu_seconds:.3f} s"


def at_most(label: str, value: float | None, bound: float, unit: str, digits: int = 1) -> Figure:
    """Returns whether a value is within a bound, which it may equal."""
    if value is None:
        return Figure(label, NOT_MEASURED, None)
    return Figure(label, f"{value:,.{digits}f} {unit}".strip(), value <= bound)


def cost_at_most(label: str, cost: Cost | None, calls: int | None, cpu_seconds: float) -> Figure:
    """Returns whether calls and CPU time are within their bounds; None is no bound for calls."""
    if cost is None:
        return Figure(label, NOT_MEASURED, None)
    return Figure(label, str(cost), (calls is None or cost.calls <= calls) and cost.cpu_seconds <= cpu_seconds)


def equal_costs(costs: dict[int, Cost | None]) -> list[Figure]:
    """Returns whether each cost equals the least one, by number of windows: the same calls, and about the same CPU."""
    known = [cost for cost in costs.values() if cost is not None]
    if len(known) < len(costs):
        return _compared(costs, {})
    least = Cost(min(cost.calls for cost in known), min(cost.cpu_seconds for cost in known))
    return _compared(costs, {count: is_about(cost, least) for count, cost in costs.items() if cost is not None})


def constant_costs(
    costs: dict[int, Cost | None], windows_a_day: dict[int, int], calls_a_window: int, cpu_seconds: float
) -> list[Figure]:
    """Returns whether the calls of one day depend on the windows of that day only, by number of windows.

    The calls less those for each window of the day are the same at all sizes. The CPU time has a bound, because the
    windows of a day are more where the history has more, so that a growth of the time has two possible causes.
    """
    if None in costs.values():
        return _compared(costs, {})
    known = {count: cost for count, cost in costs.items() if cost is not None}
    fixed = {count: cost.calls - calls_a_window * windows_a_day[count] for count, cost in known.items()}
    least = min(fixed.values())
    return _compared(
        costs, {count: fixed[count] == least and cost.cpu_seconds <= cpu_seconds for count, cost in known.items()}
    )


def is_about(cost: Cost, expected: Cost) -> bool:
    """Returns whether a cost has the expected calls, and a CPU time that is not noticeably above the expected one."""
    most = max(expected.cpu_seconds * (1 + SHARE), expected.cpu_seconds + SECONDS)
    return cost.calls == expected.calls and cost.cpu_seconds <= most


def _compared(costs: dict[int, Cost | None], reached: dict[int, bool]) -> list[Figure]:
    return [
        Figure(f"{count:,} windows", NOT_MEASURED if cost is None else str(cost), reached.get(count))
        for count, cost in sorted(costs.items())
    ]
