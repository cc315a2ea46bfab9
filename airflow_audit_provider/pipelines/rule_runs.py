"""Runs rules on the records of one window, and writes the files of its alerts.

Invariant: no alert is written whose id an earlier file of the window has, and every part is read with its digest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord
from airflow_audit_provider.core.archive.commit import CommittedManifest
from airflow_audit_provider.core.archive.manifest import Part
from airflow_audit_provider.core.archive.object_keys import WindowKeys
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.warehouse.alerts import Alert, AlertRecord, alert_of, read_alerts, write_alerts
from airflow_audit_provider.core.warehouse.detection_plan import DetectionWork, rules_after, with_held
from airflow_audit_provider.core.warehouse.detections import AlertFile, DetectedWindow, Rule, alert_id, rule_key
from airflow_audit_provider.core.windows.window import TimeWindow, format_ns
from airflow_audit_provider.exceptions import VerificationError
from airflow_audit_provider.formats.part_format import committed_format
from airflow_audit_provider.formats.tables import record_values
from airflow_audit_provider.pipelines.committed import grouped, read_committed, read_part, read_sha256
from airflow_audit_provider.pipelines.rule_history import HistoryRunner, KnownWindows, Match, RuleHistory, Unread

# Alerts in memory; a flood makes several files of one window.
_MOST_ALERTS = 5_000
# Digits of the fraction in the column event_time of the normalized table.
_FRACTION_DIGITS = 6

# Runs rules on records of one version of the API; returns each rule with each record that it matches.
RuleRunner = Callable[[ApiVersion, Sequence[AuditRecord], Sequence[Rule]], Iterable[Match]]


class RuleEngine(NamedTuple):
    """What runs rules: ``run`` those that judge each record alone, ``history`` the others."""

    run: RuleRunner
    history: HistoryRunner | None = None


class WindowRun(NamedTuple):
    """A window after rules were run on it: its state, how many records they were run on, and new files of alerts.

    ``held`` are the rules that could not be run, by key, each with a window at which it looks back.
    """

    state: DetectedWindow
    record_count: int = 0
    new_files: tuple[AlertFile, ...] = ()
    held: Mapping[str, Unread] = {}


def history_of(
    store: Store, rules: Sequence[Rule], engine: RuleEngine, known: KnownWindows | None = None
) -> RuleHistory | None:
    """Returns the records that rules look at before those that they judge, None if no rule does."""
    looking = [rule for rule in rules if rule.needs_history]
    return RuleHistory(store, looking, engine.history, known) if looking and engine.history is not None else None


class RuleRun:
    """Runs the rules that are on, given by key; ``known`` returns the windows that rules have run on."""

    def __init__(
        self, store: Store, rules: Mapping[str, Rule], engine: RuleEngine, known: KnownWindows | None = None
    ) -> None:
        self._store = store
        self._rules = rules
        self._run_rules = engine.run
        self._history = history_of(store, list(rules.values()), engine, known)

    def noted(self, work: DetectionWork) -> WindowRun:
        """Returns a window on which no rule is run."""
        committed = read_committed(self._store, work.manifest_key)
        return WindowRun(self._state(work, committed, self._first_sha256(work, committed)))

    def run(self, work: DetectionWork) -> WindowRun:
        """Runs the rules of a work; raises ``VerificationError`` for a part or a manifest that is not as committed."""
        committed = read_committed(self._store, work.manifest_key)
        first_sha256 = self._first_sha256(work, committed)
        kept = self._kept_parts(work, committed, first_sha256)
        if kept is None and not work.on_new:
            raise VerificationError(
                f"The manifest {work.manifest_key} differs from the one that rules have run on. Find "
                "out who changes committed manifests and restore it, or land the window again."
            )
        alerts = _AlertWriter(self._store, work.window, self._given(work))
        record_count = 0
        for part in committed.manifest.parts:
            keys = work.on_all if part.key in (kept or ()) else work.on_all | work.on_new
            rules = [self._rules[key] for key in sorted(keys) if not self._rules[key].needs_history]
            if rules:
                record_count += part.record_count
                self._run_part(committed, part, rules, alerts)
        held = self._run_with_history(work, alerts)
        files = alerts.finish()
        is_known, has_new = kept is not None, len(committed.manifest.parts) > len(kept or ())
        state = self._state(work, committed, first_sha256)
        rules_run = rules_after(work, has_kept_records=is_known, has_new_records=has_new)
        state = msgspec.structs.replace(state, rules=rules_run, alert_files=(*state.alert_files, *files))
        return WindowRun(with_held(state, work, held.keys(), has_kept_records=is_known), record_count, files, held)

    def _run_part(self, committed: CommittedManifest, part: Part, rules: Sequence[Rule], alerts: _AlertWriter) -> None:
        for _, matches in matches_in(self._store, committed, part, rules, self._run_rules):
            if matches:
                alerts.add(committed.manifest.query.version, part, matches)

    def _run_with_history(self, work: DetectionWork, alerts: _AlertWriter) -> Mapping[str, Unread]:
        """Runs the rules that look at earlier records on the whole window: a new one can complete a count of others.

        Returns those that could not be run.
        """
        keys = sorted(work.on_all | work.on_new)
        rules = [self._rules[key] for key in keys if self._rules[key].needs_history]
        if not rules or self._history is None:
            return {}
        held = self._history.read(work.window, rules)
        able = [rule for rule in rules if rule_key(rule) not in held]
        for version, part, match in self._history.matches(work.window, able):
            alerts.add(version, part, [match])
        return held

    def _first_sha256(self, work: DetectionWork, committed: CommittedManifest) -> str | None:
        if work.generation == 1:
            return committed.sha256
        return read_sha256(self._store, WindowKeys(work.window, work.window.start.date()).manifest(1))

    def _kept_parts(
        self, work: DetectionWork, committed: CommittedManifest, first_sha256: str | None
    ) -> frozenset[str] | None:
        """Returns the keys of the parts that the known generation of the window has, too; None if there is none.

        A window that was landed anew has another history.
        """
        known = work.known
        if known is None or known.first_sha256 != first_sha256:
            return None
        keys = WindowKeys(work.window, work.window.start.date())
        known_sha256 = (
            committed.sha256
            if known.generation == work.generation
            else read_sha256(self._store, keys.manifest(known.generation))
        )
        if known_sha256 != known.manifest_sha256:
            return None
        manifest = committed.manifest
        generations = {part.key: manifest.keys.part_generation(part.key) for part in manifest.parts}
        return frozenset(key for key, one in generations.items() if one is not None and one <= known.generation)

    def _given(self, work: DetectionWork) -> frozenset[str]:
        """Returns the ids of the alerts that were given about records of the window."""
        files = work.known.alert_files if work.known is not None else ()
        return frozenset(alert.alert_id for file in files for alert in read_alerts(file, self._store.read(file.key)))

    def _state(self, work: DetectionWork, committed: CommittedManifest, first_sha256: str | None) -> DetectedWindow:
        known = work.known
        return DetectedWindow(
            window=work.window,
            generation=work.generation,
            manifest_sha256=committed.sha256,
            first_sha256=first_sha256,
            record_count=committed.manifest.record_count,
            alert_files=() if known is None else known.alert_files,
        )


def matches_in(
    store: Store, committed: CommittedManifest, part: Part, rules: Sequence[Rule], run_rules: RuleRunner
) -> Iterator[tuple[list[AuditRecord], list[Match]]]:
    """Yields the records of a part in groups, each with the matches of rules in it."""
    version = committed.manifest.query.version
    for records in grouped(read_part(store, part, committed_format(committed.manifest), version)):
        yield records, list(run_rules(version, records, rules))


def alerts_about(window: TimeWindow, version: ApiVersion, part: Part, matches: Sequence[Match]) -> Iterator[Alert]:
    """Yields the alert of each match in records of a part."""
    values = record_values(version, [record for _, record in matches]) if matches else ()
    for (rule, record), value in zip(matches, values, strict=True):
        event_time = format_ns(record.event_ns, _FRACTION_DIGITS)
        yield alert_of(rule, AlertRecord(record.id, event_time, str(version), part.key, value), window)


class _AlertWriter:
    """Writes the alerts of a window, a file for each few thousand; ``given`` are the ids of those it has already."""

    def __init__(self, store: Store, window: TimeWindow, given: frozenset[str]) -> None:
        self._store = store
        self._window = window
        self._given = given
        self._alerts: dict[str, Alert] = {}
        self._files: list[AlertFile] = []

    def add(self, version: ApiVersion, part: Part, matches: Sequence[Match]) -> None:
        """Adds the alerts of matches that are not given yet."""
        new = [(rule, record) for rule, record in matches if alert_id(record.id, rule) not in self._given]
        self._alerts.update((alert.alert_id, alert) for alert in alerts_about(self._window, version, part, new))
        if len(self._alerts) >= _MOST_ALERTS:
            self._write()

    def finish(self) -> tuple[AlertFile, ...]:
        """Writes the remaining alerts; returns all files."""
        if self._alerts:
            self._write()
        return tuple(self._files)

    def _write(self) -> None:
        written = write_alerts(self._window, list(self._alerts.values()))
        self._store.put(written.file.key, written.content)
        self._files.append(written.file)
        self._alerts = {}
