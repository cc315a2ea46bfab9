"""Every bundled rule fires for its attack records of both versions and for none of its benign ones."""

from __future__ import annotations

import pytest

from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.formats.sigma.loading import BUNDLED_RULES, load_rules
from airflow_audit_provider.formats.sigma.rules import DetectionRule
from tests.formats.sigma.rule_cases import FOLDER, bundled_rules, cases_of

RULES = {rule.path.stem: rule for rule in bundled_rules()}
each_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)


@each_rule
def test_rule_fires_for_exactly_the_records_of_its_attacks(rule: DetectionRule) -> None:
    """A rule fires for the records that a case of it names, and for no other record of the case."""
    wrong = {f"{case.kind} {case.version}: {case.name}" for case in cases_of(rule.path.stem) if case.is_wrong(rule)}
    assert wrong == set()


@each_rule
def test_rule_has_attack_and_benign_records_of_both_versions(rule: DetectionRule) -> None:
    """Each rule has attack cases that fire and benign cases that do not, in version 1 and in version 2."""
    cases = cases_of(rule.path.stem)
    assert {(case.kind, case.version) for case in cases} == {
        (kind, version) for kind in ("attack", "benign") for version in ApiVersion
    }
    assert all(bool(case.fires) == (case.kind == "attack") for case in cases)


def test_each_file_of_records_belongs_to_a_rule() -> None:
    """No file of records is left without a rule, and each rule is alone in its file."""
    assert {path.stem for path in FOLDER.glob("*.json")} == RULES.keys()
    assert {path.stem for path in BUNDLED_RULES.glob("*.yml")} == RULES.keys()
    assert len(load_rules()) == len(RULES)


@each_rule
def test_rule_has_tags_references_and_texts(rule: DetectionRule) -> None:
    """Each rule has a technique and a tactic of ATT&CK, a reference, false positives and all parts of its advice."""
    assert [tag for tag in rule.tags if tag.startswith("attack.t1")], rule.tags
    assert [tag for tag in rule.tags if tag.startswith("attack.") and tag[7:] in TACTICS], rule.tags
    assert rule.references
    assert rule.false_positives
    assert all(rule.advice)
    assert len(rule.description) > 40


TACTICS = frozenset(
    "reconnaissance resource-development initial-access execution persistence privilege-escalation stealth "
    "defense-impairment defense-evasion credential-access discovery lateral-movement collection command-and-control "
    "exfiltration impact".split()
)
