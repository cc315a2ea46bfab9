"""Plans detections: which rules run on which records of which window.

::

                    first run       a rule is added
    window A  ──────────┼───────────────┼────────────     committed before: the rules run back to ``back_to_at``
    window B  ──────────┼──────●────────┼────────────     committed between: the rules that were on, then the new one
    window C  ──────────┼───────────────┼───────●────     committed after: all rules

A rule runs on every record that is committed while it is on, whatever the record's event time, and back on the windows
that end after ``back_to_at``.

Invariant: a rule counts as run on a window only if it has run on each record that the window's generation has.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import NamedTuple

import msgspec

from airflow_audit_provider.core.archive.object_keys import WindowKeys
from airflow_audit_provider.core.warehouse.detections import DetectedWindow, DetectionCommit, RuleState, month_of_window
from airflow_audit_provider.core.warehouse.load_plan import PlannedLoad
from airflow_audit_provider.core.windows.window import TimeWindow

# A commit has at most this many windows, so that a killed run repeats little and a commit stays small.
_MOST_WINDOWS = 500


class DetectionWork(NamedTuple):
    """A window to run rules on: ``on_all`` on all of its records, ``on_new`` on those that it did not have before.

    ``known`` is what has run on it, None for a window that is new. ``manifest_key`` is that of its newest generation.
    """

    window: TimeWindow
    manifest_key: str
    generation: int
    known: DetectedWindow | None
    on_all: frozenset[str]
    on_new: frozenset[str]

    @property
    def is_again(self) -> bool:
        """Whether rules have run on the window before, and run again because earlier windows have new records."""
        return self.known is not None and not self.on_all.isdisjoint(self.known.rules)


class RuleReach(NamedTuple):
    """The keys of the rules that are on, and how far back a rule runs that was not on before."""

    active: frozenset[str]
    back_to_at: datetime

    def due(self, before: DetectionCommit | None) -> frozenset[str]:
        """Returns the rules that have not run back far enough yet; at the first run no window is known."""
        if before is None:
            return frozenset()
        since = {one.rule: one.since for one in before.rules}
        return frozenset(rule for rule in self.active if rule not in since or since[rule] > self.back_to_at)

    def states(self, before: DetectionCommit | None) -> tuple[RuleState, ...]:
        """Returns the rules that are on, once those that are due have run back on every window."""
        since = {one.rule: one.since for one in before.rules} if before is not None else {}
        return tuple(
            RuleState(rule, min(self.back_to_at, since.get(rule, self.back_to_at))) for rule in sorted(self.active)
        )

    def states_meanwhile(self, before: DetectionCommit | None) -> tuple[RuleState, ...]:
        """Returns the rules that are on and not due, for a commit before those that are due have run back."""
        due = self.due(before)
        return tuple(one for one in self.states(before) if one.rule not in due)


def work_on_new(
    loads: Iterable[PlannedLoad],
    known: Mapping[TimeWindow, DetectedWindow],
    reach: RuleReach,
    *,
    is_first_run: bool,
    due: frozenset[str] = frozenset(),
) -> Iterator[DetectionWork]:
    """Yields the work on windows with a generation that no rule has run on.

    The first run only notes windows that end before the rules run back; all rules run on those that come later.
    """
    for load in loads:
        one = known.get(load.window)
        is_recent = load.window.end > reach.back_to_at
        on_new = frozenset() if is_first_run and not is_recent else reach.active
        on_all = _missing(one, reach, due) if one is not None else frozenset()
        yield DetectionWork(load.window, load.manifest_key, load.generation, one, on_all, on_new)


def work_back(
    known: Iterable[DetectedWindow], due: frozenset[str], reach: RuleReach, planned: Collection[TimeWindow]
) -> Iterator[DetectionWork]:
    """Yields the work of rules that run back or are held, on the generation of each window that is known."""
    for one in known:
        on_all = _missing(one, reach, due)
        if on_all and one.window not in planned:
            yield _on_known(one, on_all)


def _missing(one: DetectedWindow, reach: RuleReach, due: frozenset[str]) -> frozenset[str]:
    """Returns the rules that are to run on all records of a window that is known."""
    back = due - frozenset(one.rules) if one.window.end > reach.back_to_at else frozenset()
    return back | reach.active.intersection(one.held)


def work_again(
    known: Iterable[DetectedWindow],
    changed: Sequence[TimeWindow],
    spans: Mapping[str, timedelta],
    planned: Collection[TimeWindow],
) -> Iterator[DetectionWork]:
    """Yields the work on windows behind changed ones, of the rules by key that look back as far as ``spans``.

    A record that is committed late can complete a count of later records, whose windows have no new generation.
    """
    for one in known:
        behind = [one.window.start - other.end for other in changed if other.start < one.window.end]
        keys = {key for key in one.rules if key in spans and any(gap < spans[key] for gap in behind)}
        if keys and one.window not in planned:
            yield _on_known(one, frozenset(keys))


def merged(
    again: Iterable[DetectionWork], work: Sequence[DetectionWork]
) -> tuple[list[DetectionWork], list[DetectionWork]]:
    """Returns both kinds of work; that on a window which is in both is done once, with the windows that run again."""
    others = {one.window: one for one in work}
    both = []
    for one in again:
        other = others.pop(one.window, None)
        both.append(one if other is None else one._replace(on_all=one.on_all | other.on_all))
    return both, list(others.values())


def _on_known(one: DetectedWindow, on_all: frozenset[str]) -> DetectionWork:
    """Returns the work of rules on the generation of a window that is known."""
    keys = WindowKeys(one.window, one.window.start.date())
    return DetectionWork(one.window, keys.manifest(one.generation), one.generation, one, on_all, frozenset())


def rules_after(work: DetectionWork, *, has_kept_records: bool, has_new_records: bool) -> tuple[str, ...]:
    """Returns the rules that have run on all records of a window after its work is done.

    ``has_kept_records`` states whether it has records of the generation that is known, ``has_new_records`` whether it
    has others.
    """
    before = frozenset(work.known.rules) if work.known is not None and has_kept_records else frozenset()
    if not has_kept_records:
        # Every record is new. A window that is empty has nothing that a rule could miss.
        return tuple(sorted(work.on_new | work.on_all))
    kept = before & work.on_new if has_new_records else before
    return tuple(sorted(kept | work.on_all))


def with_held(
    state: DetectedWindow, work: DetectionWork, held: Collection[str], *, has_kept_records: bool
) -> DetectedWindow:
    """Returns the state of a window after its work, with the rules by key that could not be run.

    If a rule is switched off, the records that it missed before that stay noted as held for it.
    """
    before = work.known.held if work.known is not None and has_kept_records else ()
    still = frozenset(before) - work.on_all - work.on_new
    rules = tuple(one for one in state.rules if one not in held)
    return msgspec.structs.replace(state, rules=rules, held=tuple(sorted(still.union(held))))


def commits_of(work: Sequence[DetectionWork]) -> Iterator[list[DetectionWork]]:
    """Yields the windows of each commit: those of one month, the oldest first."""
    ordered = sorted(work, key=lambda one: one.window)
    for _, group in groupby(ordered, lambda one: month_of_window(one.window)):
        of_month = list(group)
        for start in range(0, len(of_month), _MOST_WINDOWS):
            yield of_month[start : start + _MOST_WINDOWS]
