"""Runs detection rules on committed windows: on each record once for each version of a rule.

::

    plan      read the newest commit of detections, find the windows with a generation that no rule has run on
    run       read the parts that a rule has not run on, verified by digest; write the alerts of each window
    commit    write the state of the months, create the next commit; if another run was faster, begin again

Invariant: an alert is given once for a record, a rule and a version of it, by the commit that names its file, whenever
a run is killed and however many runs there are at the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from airflow_audit_provider.core.archive.object_keys import WindowKeys, newest_manifests
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.warehouse.detection_plan import (
    DetectionWork,
    RuleReach,
    commits_of,
    merged,
    work_again,
    work_back,
    work_on_new,
)
from airflow_audit_provider.core.warehouse.detections import (
    AlertFile,
    DetectedWindow,
    DetectionCommit,
    Rule,
    RuleState,
    rule_key,
)
from airflow_audit_provider.core.warehouse.load_plan import CommittedWindows, LoadPlan, keys_to_compare, plan_loads
from airflow_audit_provider.core.warehouse.port import LedgerEntry, LoadPosition
from airflow_audit_provider.core.windows.window import LATEST_AT, TimeWindow, format_instant
from airflow_audit_provider.exceptions import VerificationError, WarehouseBusyError
from airflow_audit_provider.pipelines.alert_delivery import undelivered
from airflow_audit_provider.pipelines.committed import read_sha256
from airflow_audit_provider.pipelines.detection_ledger import CommitContent, DetectionLedger
from airflow_audit_provider.pipelines.pending_windows import Pending, PendingWindows
from airflow_audit_provider.pipelines.rule_history import generation_of
from airflow_audit_provider.pipelines.rule_runs import RuleEngine, RuleRun, WindowRun
from airflow_audit_provider.pipelines.side_by_side import each

# How often a run begins again after another one was faster; after that the task itself is retried.
_MAX_ATTEMPTS = 5
# A commit follows after this many records, so that a run over months that is killed goes on near where it was.
_MOST_RECORDS = 500_000

# Longer than any audit log, and short enough for every calendar.
MOST_RUN_BACK = timedelta(days=36_500)

CommitCallback = Callable[[DetectionCommit], None]


class DetectSpec(NamedTuple):
    """Rules to run, and how far back a rule runs that was not on before.

    ``attempt_id`` is that of the run, ``notifiers`` are the names of those that are to get the alerts.
    """

    rules: tuple[Rule, ...]
    now: datetime
    back_to_at: datetime
    attempt_id: str
    notifiers: tuple[str, ...] = ()


class DetectOutcome(NamedTuple):
    """The commits of a run, oldest first, none if there was nothing to commit; and the newest commit after it."""

    commits: tuple[DetectionCommit, ...]
    newest: DetectionCommit | None = None

    @property
    def alert_count(self) -> int:
        """Number of new alerts."""
        return sum(one.alert_count for one in self.commits)

    @property
    def record_count(self) -> int:
        """Number of records that a rule was run on."""
        return sum(sum(one.windows.values()) for one in self.commits)

    @property
    def window_count(self) -> int:
        """Number of windows that were looked at."""
        return len({window for one in self.commits for window in one.windows})

    @property
    def alert_files(self) -> tuple[AlertFile, ...]:
        """The new files of alerts."""
        return tuple(file for one in self.commits for file in one.alert_files)


def detect(spec: DetectSpec, store: Store, engine: RuleEngine, on_commit: CommitCallback) -> DetectOutcome:
    """Runs rules on each record that they have not run on, and commits the alerts; idempotent.

    All readable windows are done before the first error of another one is raised: ``VerificationError`` for windows
    that the destination has lost, and parts that differ from their manifest. A rule that looks back at such a part is
    held on the windows behind it, and the error names it. Raises ``WarehouseBusyError`` if other runs were faster too
    often.
    """
    commits: list[DetectionCommit] = []

    def note(commit: DetectionCommit) -> None:
        commits.append(commit)
        on_commit(commit)

    for _ in range(_MAX_ATTEMPTS - 1):
        ledger = DetectionLedger(store)
        try:
            _Detection(spec, store, engine, ledger).run(note)
            return DetectOutcome(tuple(commits), ledger.newest)
        except (WarehouseBusyError, VerificationError):
            # Another run that was faster may also have removed the state that this one was about to read.
            if ledger.is_newest():
                raise
    ledger = DetectionLedger(store)
    _Detection(spec, store, engine, ledger).run(note)
    return DetectOutcome(tuple(commits), ledger.newest)


class _Detection:
    """One attempt, upon one commit of the ledger."""

    def __init__(self, spec: DetectSpec, store: Store, engine: RuleEngine, ledger: DetectionLedger) -> None:
        self._spec = spec
        self._store = store
        self._ledger = ledger
        self._before = ledger.newest
        self._reach = RuleReach(frozenset(map(rule_key, spec.rules)), spec.back_to_at)
        self._due = self._reach.due(self._before)
        self._runs = RuleRun(store, {rule_key(rule): rule for rule in spec.rules}, engine, self._known)
        self._pending: Collection[TimeWindow] = ()
        self._errors: list[VerificationError] = []
        self._held: dict[TimeWindow, frozenset[str]] = {}
        self._not_again: list[TimeWindow] = []
        self._is_complete = True
        self._undelivered = undelivered(store, self._before, spec.notifiers)

    def run(self, on_commit: CommitCallback) -> None:
        """Plans, runs and commits; raises the first error of a window at the end."""
        pending = PendingWindows("", "", self._store, self._ledger, self._plan).find(self._spec.now)
        self._errors += pending.plan.errors
        self._is_complete = not self._errors
        self._pending = {load.window for load in pending.plan.loads}
        noted, work = self._divide(self._work(pending))
        if self._before is None:
            # Before any rule runs: what a first run that is killed has not noted would be run by the next one.
            on_commit(self._commit(noted, self._reach.states(None)))
        # First: if the run is killed in between, the new windows are still pending, and so this work is done again.
        again, work = merged(self._again(pending, work), work)
        groups = [*commits_of(again), *commits_of(work)]
        last: list[WindowRun] = []
        for windows in (one for group in groups for one in self._bounded(group)):
            if last:
                on_commit(self._commit(last, self._reach.states_meanwhile(self._before)))
            last = windows
        self._finish(last, pending, on_commit)

    def _finish(self, last: list[WindowRun], pending: Pending, on_commit: CommitCallback) -> None:
        """Makes the last commit, with the position if every window is done."""
        if not self._is_complete:
            if last:
                on_commit(self._commit(last, self._reach.states_meanwhile(self._before)))
        elif last or self._due or pending.position is not None:
            on_commit(self._commit(last, self._reach.states(self._before), pending.position))
        if self._errors:
            raise held_error(self._held, self._errors[0]) if self._held else self._errors[0]

    def _plan(self, keys: tuple[str, ...], ledger: list[LedgerEntry]) -> LoadPlan:
        compared = keys_to_compare(keys, ledger)
        digests = zip(compared, each(self._store, partial(read_sha256, self._store), compared), strict=True)
        found = {key: sha256 for key, sha256 in digests if sha256 is not None}
        return plan_loads(CommittedWindows("", keys, found), ledger)

    def _work(self, pending: Pending) -> list[DetectionWork]:
        """Returns the work on new generations, and that of rules which run back."""
        loads = pending.plan.loads
        known: Mapping[TimeWindow, DetectedWindow] = {}
        if any(load.replaced is not None for load in loads):
            known = self._ledger.windows(_span([load.window for load in loads]))
        work = list(work_on_new(loads, known, self._reach, is_first_run=self._before is None, due=self._due))
        held_since_at = None if self._before is None else self._before.held_since_at
        starts = [*([self._spec.back_to_at] if self._due else []), *([held_since_at] if held_since_at else [])]
        if starts:
            reached = self._ledger.windows(TimeWindow(min(starts), LATEST_AT))
            work += work_back(reached.values(), self._due, self._reach, {one.window for one in work})
        return work

    def _again(self, pending: Pending, work: Sequence[DetectionWork]) -> list[DetectionWork]:
        """Returns the work on known windows after new records, on which rules that look back may find more now."""
        spans = {rule_key(rule): rule.needs_history for rule in self._spec.rules if rule.needs_history}
        changed = [load.window for load in pending.plan.loads]
        # Their records came while a rule was off that has run on windows behind them before.
        missed = [one.window for one in work if not one.on_new and not self._due.isdisjoint(one.on_all)]
        if not spans or not (changed or missed) or self._before is None:
            return []
        reached = _span([*changed, *missed])
        known = self._ledger.windows(TimeWindow(reached.start, reached.end + max(spans.values()))).values()
        planned = {one.window for one in work if one.on_new}
        due = {key: span for key, span in spans.items() if key in self._due}
        before = [one for one in known if not due.keys().isdisjoint(one.rules)]
        again, rest = merged(work_again(known, changed, spans, planned), list(work_again(before, missed, due, planned)))
        return [*again, *rest]

    def _divide(self, work: Sequence[DetectionWork]) -> tuple[list[WindowRun], list[DetectionWork]]:
        """Returns the windows that are only noted, with their manifests, and the work on the others."""
        is_noted = [self._before is None and not one.on_new for one in work]
        noted = [one for one, is_one in zip(work, is_noted, strict=True) if is_one]
        others = [one for one, is_one in zip(work, is_noted, strict=True) if not is_one]
        return [one for one in each(self._store, self._noted, noted) if one is not None], others

    def _noted(self, work: DetectionWork) -> WindowRun | None:
        """Returns a window that is only noted, None if its manifest cannot be read."""
        try:
            return self._runs.noted(work)
        except VerificationError as error:
            self._note_error(work, error)
            return None

    def _bounded(self, work: Sequence[DetectionWork]) -> Iterator[list[WindowRun]]:
        """Runs rules on windows; yields those of a commit."""
        done: list[WindowRun] = []
        for one in work:
            try:
                if not self._is_held(one):
                    run = self._runs.run(one)
                    self._note_held(run)
                    done += [] if run.held and run.state == one.known else [run]
            except VerificationError as error:
                self._note_error(one, error)
            if sum(each_run.record_count for each_run in done) >= _MOST_RECORDS:
                yield done
                done = []
        if done:
            yield done

    def _known(self, time_range: TimeWindow) -> dict[TimeWindow, int]:
        """Returns the windows of the ledger in a range with their generations; not those that have a new manifest.

        A window that was landed anew has a lower generation than the ledger knows.
        """
        known = self._ledger.windows(time_range)
        return {window: one.generation for window, one in known.items() if window not in self._pending}

    def _note_held(self, run: WindowRun) -> None:
        """Keeps the error of a window at which held rules look back, unless a newer generation has replaced it."""
        for unread in run.held.values():
            newest = _newest(self._store, unread.window)
            if generation_of(newest) <= generation_of(unread.manifest_key):
                self._errors.append(unread.error)
                self._held[run.state.window] = frozenset(run.held)
                return

    def _note_error(self, work: DetectionWork, error: VerificationError) -> None:
        """Keeps the error of a window, unless a newer generation has replaced the parts while they were read."""
        self._is_complete = False
        if generation_of(_newest(self._store, work.window)) <= work.generation:
            self._errors.append(error)
            self._not_again += [work.window] if work.is_again else []

    def _is_held(self, work: DetectionWork) -> bool:
        """Returns whether a window behind this one is still to be judged again with its new records.

        Nothing but this window's new generation shows that, so it stays pending until the other one can be read.
        """
        span = max((rule.needs_history for rule in self._spec.rules), default=timedelta())
        behind = (one for one in self._not_again if work.window.start < one.end)
        return bool(work.on_new) and any(one.start - work.window.end < span for one in behind)

    def _commit(
        self, runs: Sequence[WindowRun], rules: tuple[RuleState, ...], position: LoadPosition | None = None
    ) -> DetectionCommit:
        newest, pending = self._ledger.newest, self._undelivered
        if newest is not None and newest is not self._before and newest.alert_count and self._spec.notifiers:
            # An earlier commit of this run, whose alerts are delivered after it.
            pending = (*pending, newest.number)
        self._undelivered = pending
        content = CommitContent(
            rules=rules,
            windows=[one.state for one in runs],
            record_counts={one.state.window: one.record_count for one in runs},
            alert_files=tuple(file for one in runs for file in one.new_files),
            position=self._ledger.position("", "") if position is None else self._counted(position, runs),
            undelivered=pending,
            notifiers=self._spec.notifiers,
            held_since_at=self._held_since(runs),
        )
        return self._ledger.commit(content, self._spec.now, self._spec.attempt_id)

    def _held_since(self, runs: Sequence[WindowRun]) -> datetime | None:
        """Returns the start of the oldest window on which a rule is held after a commit."""
        newest, states = self._ledger.newest, {one.state.window: one.state for one in runs}
        if newest is not None and newest.held_since_at is not None:
            states = {**self._ledger.windows(TimeWindow(newest.held_since_at, LATEST_AT)), **states}
        return min((one.window.start for one in states.values() if one.held), default=None)

    def _counted(self, position: LoadPosition, runs: Sequence[WindowRun]) -> LoadPosition:
        """Returns a position with the number of windows that the ledger has after a commit."""
        known = self._ledger.windows(_span([one.state.window for one in runs])) if runs else {}
        new_count = sum(one.state.window not in known for one in runs)
        return position._replace(window_count=self._ledger.window_count("") + new_count)


def _span(windows: Sequence[TimeWindow]) -> TimeWindow:
    return TimeWindow(min(one.start for one in windows), max(one.end for one in windows))


def _newest(store: Store, window: TimeWindow) -> str | None:
    folder = WindowKeys(window, window.start.date()).manifest_prefix
    return newest_manifests(store.list_keys(folder)).get(window)


def held_error(held: Mapping[TimeWindow, frozenset[str]], error: VerificationError) -> VerificationError:
    """Returns the error of a part that cannot be read, with the rules that look back at it."""
    count = "1 window" if len(held) == 1 else f"{len(held)} windows"
    first = format_instant(min(one.start for one in held))
    rules = ", ".join(sorted({key.partition("@")[0] for keys in held.values() for key in keys}))
    return VerificationError(
        f"Some rules look back at a window that cannot be read, so they did not run on {count} (earliest start: "
        f"{first}): {rules}. All other rules ran on all other windows. {error} If the window is lost, use a folder of "
        "rules without these."
    )
