"""The bundled rules pass pySigma's own validators."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sigma.collection import SigmaCollection
from sigma.validation import SigmaValidator
from sigma.validators.base import SigmaRuleValidator
from sigma.validators.core import validators

from airflow_audit_provider.formats.sigma.loading import BUNDLED_RULES

# These load the names of ATT&CK and D3FEND from the internet.
ONLINE = {"attacktag", "d3_fendtag"}


def _offline() -> Iterable[type[SigmaRuleValidator]]:
    return (validator for name, validator in validators.items() if name not in ONLINE)


def test_bundled_rules_have_no_issue() -> None:
    """No validator of pySigma that needs no internet has an objection to a rule."""
    rules: list[Any] = list(SigmaCollection.load_ruleset([BUNDLED_RULES]).rules)
    assert len(rules) > 35
    issues = SigmaValidator(set(_offline())).validate_rules(iter(rules))
    assert [str(issue) for issue in issues] == []
