"""Runs rules in tests with one line each, over a destination that several writers change.

The rules are plain predicates on a record's text, so that these tests are about what runs on which record.

Invariant: an alert counts if a commit of detections names its file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord
from airflow_audit_provider.core.archive.object_keys import detection_commit_key
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.warehouse.alerts import Alert, read_alerts
from airflow_audit_provider.core.warehouse.detections import DetectionCommit, Rule, read_detection_commit
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.pipelines.commit_log import AttemptEntry
from airflow_audit_provider.pipelines.detect import DetectOutcome, DetectSpec, detect
from airflow_audit_provider.pipelines.rule_history import Match
from airflow_audit_provider.pipelines.rule_runs import RuleEngine
from tests.pipelines.verify.dataset import DAY, DAY_1, commit

NOW = DAY_1 + 5 * DAY
# A rule that was not on before runs on everything.
ALL_TIME = timedelta(days=10_000)


class ContainsRule(NamedTuple):
    """A rule that matches the records whose text contains a word."""

    id: str
    word: bytes = b""
    version: str = "1"
    level: str = "high"
    title: str = "A title"
    description: str = "What it means"
    advice: str = "What to do"
    tags: tuple[str, ...] = ("attack.t1078",)
    needs_history: timedelta = timedelta(0)


class Runs:
    """Runs such rules, and notes on which records each of them was run."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def __call__(self, _: ApiVersion, records: Sequence[AuditRecord], rules: Sequence[Rule]) -> Iterator[Match]:
        """Yields the matches."""
        for rule in rules:
            assert isinstance(rule, ContainsRule)
            self.seen += [(f"{rule.id}@{rule.version}", record.id) for record in records]
            yield from ((rule, record) for record in records if rule.word in record.raw)


def run(
    store: Store,
    *rules: ContainsRule,
    now: datetime = NOW,
    back: timedelta = ALL_TIME,
    runner: Callable[[ApiVersion, Sequence[AuditRecord], Sequence[Rule]], Iterable[Match]] | None = None,
    attempt_id: str = "one",
) -> DetectOutcome:
    """Runs rules on what is committed."""
    back_to_at = max(now - back, DAY_1 - 400 * DAY)
    spec = DetectSpec(rules, now, back_to_at, attempt_id)
    return detect(spec, store, RuleEngine(runner or Runs()), lambda _: None)


def land(
    store: Store, of: TimeWindow, records: list[AuditRecord], at: datetime = NOW, *, replace: bool = False
) -> None:
    """Commits records as the pipeline does, with an entry in the commit log before them."""
    entries = list(store.list_keys("_commit_log/"))
    generation = 1 + sum(1 for key in store.list_keys(f"_manifests/dt={of.start.date()}/") if _names(key, of))
    entry = AttemptEntry(store, of, generation, f"attempt{len(entries)}")
    entry.begin(at)
    entry.write()
    commit(store, of, records, replace=replace)


def _names(key: str, of: TimeWindow) -> bool:
    return f"{of.start:%Y%m%dT%H%M%SZ}-{of.end:%Y%m%dT%H%M%SZ}" in key


def commits(store: Store) -> list[DetectionCommit]:
    """Returns every commit of detections, oldest first; fails if a number is missing."""
    found: list[DetectionCommit] = []
    while (content := store.read(key := detection_commit_key(len(found) + 1))) is not None:
        found.append(read_detection_commit(key, content))
    assert len(found) == len(list(store.list_keys("_detections/ledger/")))
    return found


def alerts(store: Store) -> list[Alert]:
    """Returns the alerts that commits name, in no order; a file that is not as it was committed fails."""
    files = [file for one in commits(store) for file in one.alert_files]
    return [alert for file in files for alert in read_alerts(file, store.read(file.key))]


def given(store: Store) -> list[tuple[str, str]]:
    """Returns rule with version and record of each alert, sorted, with duplicates."""
    return sorted((f"{one.rule_id}@{one.rule_version}", one.record_id) for one in alerts(store))
