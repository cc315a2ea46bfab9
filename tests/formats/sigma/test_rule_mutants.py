"""The attack and benign records of a rule notice each condition that the rule loses."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_audit_provider.formats.sigma.loading import BUNDLED_RULES
from tests.formats.sigma.rule_mutants import survivors

FILES = sorted(BUNDLED_RULES.glob("*.yml"))
LONG = pytest.mark.nightly


@pytest.mark.integration
@pytest.mark.parametrize(
    "path",
    [pytest.param(path, id=path.stem, marks=[] if path.stem == "zone_deleted" else LONG) for path in FILES],
)
def test_records_of_a_rule_notice_each_lost_condition(path: Path) -> None:
    """No condition, value or alternative can be dropped from a rule without a wrong answer for one of its records."""
    assert survivors(path) == []
