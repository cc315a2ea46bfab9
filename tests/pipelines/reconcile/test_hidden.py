"""A dataset with a privacy rule is compared through the rule, with its key or without."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_audit_provider.core.privacy.rule import PrivacyRule, read_privacy
from airflow_audit_provider.exceptions import ConfigurationError
from airflow_audit_provider.testing.logpush import LogpushFaults, LogpushOptions
from tests.pipelines.reconcile.archives import landed_account

FAULTS = LogpushFaults(drop=0.1, change=0.1)


def rule_of(key: bytes) -> PrivacyRule:
    """Returns a rule that replaces emails and addresses, and drops the metadata."""
    request = read_privacy({"conn_id": "key", "drop": ["metadata"]})
    assert request is not None
    return PrivacyRule(request, key)


@pytest.mark.parametrize("key", [b"k" * 32, None], ids=["key", "no key"])
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


def test_rule_that_is_not_that_of_the_windows_is_refused(tmp_path: Path) -> None:
    """Another key, and a rule for windows that have none, are errors: nothing would be compared under them."""
    for folder, landed, given in (("one", rule_of(b"k" * 32), rule_of(b"o" * 32)), ("two", None, rule_of(b"k" * 32))):
        account = landed_account(tmp_path / folder, per_day=20, privacy=landed)
        _, archive = account.archive(FAULTS, LogpushOptions())
        with pytest.raises(ConfigurationError, match="cannot be compared under the privacy rule that you gave"):
            account.reconcile(archive, privacy=given)
