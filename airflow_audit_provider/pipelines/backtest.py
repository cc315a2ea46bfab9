"""Runs rules over committed windows without writing anything: how many alerts a day they would have given.

Invariant: it writes nothing, and holds the records of one group and a few examples of each rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.core.archive.manifest import Part
from airflow_audit_provider.core.archive.object_keys import MANIFEST_FOLDER, newest_manifests
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.warehouse.backtest_report import RuleTally
from airflow_audit_provider.core.warehouse.detections import Rule, rule_key
from airflow_audit_provider.core.windows.window import EARLIEST_AT, LATEST_AT, TimeWindow
from airflow_audit_provider.pipelines.committed import committed_manifest
from airflow_audit_provider.pipelines.neighbourhood import is_near, list_around
from airflow_audit_provider.pipelines.rule_history import Match
from airflow_audit_provider.pipelines.rule_runs import RuleEngine, alerts_about, history_of, matches_in
from airflow_audit_provider.pipelines.side_by_side import read_each


class Backtest:
    """What was found: windows, the number of records, and the tally of each rule."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.windows: list[TimeWindow] = []
        self.record_count = 0
        self.tallies = {rule_key(rule): RuleTally(rule) for rule in rules}

    def add(self, window: TimeWindow, version: ApiVersion, part: Part, matches: Sequence[Match]) -> None:
        """Counts the matches in a group of records, and keeps the first of each rule as examples."""
        wanted: list[Match] = []
        for rule, record in matches:
            tally = self.tallies[rule_key(rule)]
            tally.count([record.event_ns])
            if tally.wants_example:
                wanted.append((rule, record))
        for alert, (rule, _) in zip(alerts_about(window, version, part, wanted), wanted, strict=True):
            tally = self.tallies[rule_key(rule)]
            if tally.wants_example:
                tally.examples.append(alert)


def backtest(
    store: Store,
    rules: Sequence[Rule],
    engine: RuleEngine,
    bounds: tuple[datetime | None, datetime | None],
    on_window: Callable[[TimeWindow], None] = lambda _: None,
) -> Backtest:
    """Runs rules on every record of the committed windows that overlap a range, oldest first.

    Rules that look at earlier records also read the windows of their span before the range.
    Raises ``VerificationError`` for a manifest or a part that is not as it was committed.
    """
    found = Backtest(rules)
    time_range = TimeWindow(bounds[0] or EARLIEST_AT, bounds[1] or LATEST_AT)
    keys = list_around(store, time_range).manifest_keys if is_near(time_range) else store.list_keys(MANIFEST_FOLDER)
    history = history_of(store, rules, engine)
    alone, looking = [one for one in rules if not one.needs_history], [one for one in rules if one.needs_history]
    newest = {window: key for window, key in newest_manifests(keys).items() if window.overlaps(time_range)}
    if history is not None and newest:
        history.read_before(min(newest).start)
    for key, content in read_each(store, [newest[window] for window in sorted(newest)]):
        committed = committed_manifest(key, content)
        window, version = committed.manifest.window, committed.manifest.query.version
        for part in committed.manifest.parts:
            for records, matches in matches_in(store, committed, part, alone, engine.run):
                found.record_count += len(records)
                found.add(window, version, part, matches)
                if history is not None:
                    history.add(window, version, part, records)
        for _, part, match in history.judged(version, window, looking) if history is not None else ():
            found.add(window, version, part, [match])
        found.windows.append(window)
        on_window(window)
    return found
