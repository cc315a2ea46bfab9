"""A dataset with a privacy rule is compared through the rule, with its key or without."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_audit_provider.core.privacy.rule import PrivacyRule, read_privacy
from airflow_audit_provider.testing.logpush import LogpushFaults, LogpushOptions
from tests.pipelines.reconcile.archives import landed_account

FAULTS = LogpushFaults(drop=0.1, change=0.1)


def rule_of(key: bytes) -> PrivacyRule:
    """Returns a rule that replaces emails and addresses, and drops the metadata."""
    request = read_privacy({"conn_id": "key", "drop": ["metadata"]})
    assert request is not None
    return PrivacyRule(request, key)


@pytest.mark.parametrize("key", [b"k" * 32, b"o" * 32, None], ids=["key", "another key", "no key"])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_pseudonymized_dataset_is_compared_through_its_rule(version: str, key: bytes | None, tmp_path: Path) -> None:
    """Pseudonyms are no differences with the key or without, and what is changed and missing is found in both cases."""
    account = landed_account(tmp_path, version, per_day=80, privacy=rule_of(b"k" * 32))
    made, archive = account.archive(FAULTS, LogpushOptions())
    report = account.reconcile(archive, privacy=None if key is None else rule_of(key))
    inside = account.truth().keys()
    assert {one.id for one in report.missing_there} == made.truth.missing & inside
    assert {one.id for one in report.differing} == made.truth.changed & inside
    assert {one.fields for one in report.differing} == {("ActionType",)}
