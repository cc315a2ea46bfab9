"""Attack and benign records of each bundled rule, in files beside this module.

A case is a list of records as the API sends them, oldest first, and the ids of those for which the rule fires. Where a
sequence has many equal records, the file holds one of them, how often it comes and how many seconds apart.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord, read_records
from airflow_audit_provider.formats.sigma.loading import load_rules
from airflow_audit_provider.formats.sigma.matching import find_matches, normalized_rows
from airflow_audit_provider.formats.sigma.rules import DetectionRule

FOLDER = Path(__file__).parent / "records"


@cache
def bundled_rules() -> tuple[DetectionRule, ...]:
    """Returns the rules of this package, read once for all files of tests."""
    return load_rules()


class Case(NamedTuple):
    """Records of one version, and those of them for which a rule fires."""

    rule: str
    kind: str
    name: str
    version: ApiVersion
    records: Sequence[AuditRecord]
    fires: frozenset[str]

    def is_wrong(self, rule: DetectionRule) -> bool:
        """Returns whether the rule fires for other records than it should."""
        matches = find_matches([rule], normalized_rows(self.version, self.records))
        return frozenset(match.record_id for match in matches) != self.fires


def cases_of(rule: str) -> list[Case]:
    """Returns the cases of a rule's file, named without its suffix."""
    return [_case(rule, one) for one in json.loads((FOLDER / f"{rule}.json").read_text(encoding="utf-8"))]


def _case(rule: str, case: dict[str, Any]) -> Case:
    version = ApiVersion(case["version"])
    texts = [json.dumps(record, ensure_ascii=False).encode() for record in _expanded(case["records"])]
    return Case(rule, case["kind"], case["name"], version, read_records(version, texts), frozenset(case["fires"]))


def _expanded(records: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for record in records:
        if "times" in record:
            yield from _repeated(**record)
        else:
            yield record


def _repeated(record: dict[str, Any], times: int, every_seconds: int) -> Iterator[dict[str, Any]]:
    for number in range(times):
        one = json.loads(json.dumps(record))
        one["id"] = f"{number:04d}{one['id'][4:]}"
        place, name = (one, "when") if "when" in one else (one["action"], "time")
        moment = datetime.fromisoformat(place[name]) + timedelta(seconds=number * every_seconds)
        place[name] = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
        yield one
