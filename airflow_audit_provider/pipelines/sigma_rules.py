"""Sigma rules as a detection runs them: loaded from folders, evaluated by DuckDB over rows in memory.

Libraries are imported when a rule is loaded or run, because a task that runs no rule need not have them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord
from airflow_audit_provider.core.warehouse.detections import Rule
from airflow_audit_provider.pipelines.rule_history import HistoryRunner, Match
from airflow_audit_provider.pipelines.rule_runs import RuleEngine

if TYPE_CHECKING:
    from airflow_audit_provider.formats.sigma.rules import DetectionRule


def load_sigma_rules(folders: Sequence[str | Path] | None, time_zone: str = "UTC") -> tuple[DetectionRule, ...]:
    """Returns the rules in folders, by default those of this package."""
    from airflow_audit_provider.formats.sigma.loading import BUNDLED_RULES, load_rules

    return load_rules([Path(one) for one in folders or (BUNDLED_RULES,)], time_zone)


def run_sigma_rules(version: ApiVersion, records: Sequence[AuditRecord], rules: Sequence[Rule]) -> Iterator[Match]:
    """Yields each match of rules that judge a record alone; satisfies ``RuleRunner``."""
    return _matches(version, records, rules, None)


def _select(version: ApiVersion, records: Sequence[AuditRecord], rules: Sequence[Rule]) -> list[AuditRecord]:
    """Returns the records that the event filter of a rule accepts."""
    from airflow_audit_provider.formats.sigma.rules import EachRecord

    filters = [replace(rule, pattern=EachRecord()) for rule in cast("Sequence[DetectionRule]", rules)]
    accepted = {record.id for _, record in _matches(version, records, filters, None)}
    return [record for record in records if record.id in accepted]


def _judge(
    version: ApiVersion, records: Sequence[AuditRecord], rules: Sequence[Rule], since: datetime
) -> Iterator[Match]:
    return _matches(version, records, rules, since)


def _matches(
    version: ApiVersion, records: Sequence[AuditRecord], rules: Sequence[Rule], since: datetime | None
) -> Iterator[Match]:
    from airflow_audit_provider.formats.sigma.matching import find_matches, normalized_rows

    by_id = {record.id: record for record in records}
    for match in find_matches(cast("Sequence[DetectionRule]", rules), normalized_rows(version, records), since):
        yield match.rule, by_id[match.record_id]


SIGMA = RuleEngine(run_sigma_rules, HistoryRunner(_select, _judge))
