"""Severity of an event: the first rule that applies, and the user's own severities."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.exceptions import ConfigurationError
from airflow_audit_provider.formats.ocsf.severity import LEVELS, RULES, Rule, checked_overrides
from airflow_audit_provider.formats.part_format import part_format
from tests.formats.encoded import encode
from tests.formats.ocsf.ocsf_validation import violations
from tests.formats.odd_records import V1, V2, raw_of, records_of

ANN = {"id": "a" * 32, "email": "ann@example.com"}
ON, OFF = {"enabled": True}, {"enabled": False}
ADMIN = {"user": {"id": "c" * 32, "email": "bob@example.com"}, "roles": [{"name": "Administrator"}]}


def severity_of(version: ApiVersion, overrides: dict[str, str] | None = None, **fields: Any) -> str:
    """Returns the severity of a record's event."""
    choice = part_format("jsonl", "none", "ocsf", overrides)
    event = json.loads(encode(choice, version, records_of(version, raw_of(version, "r", **fields))))
    assert violations(event) == []
    assert event["severity_id"] == LEVELS[event["severity"]]
    return str(event["severity"])


def first(action: str, resource: str, *, result: bool = True, **values: Any) -> dict[str, Any]:
    """Returns the fields of a record of version 1."""
    return {
        "action": {"type": action, "result": result},
        "actor": ANN,
        "resource": {"id": "r1", "type": resource},
        **values,
    }


RECORDS: list[tuple[str, dict[str, Any]]] = [
    ("Low", first("login", "user", result=False)),
    ("Low", first("token_create", "token", result=False)),
    ("High", first("add", "account.member", newValueJson=ADMIN)),
    ("Medium", first("add", "account.member", newValueJson={**ADMIN, "roles": [{"name": "DNS"}]})),
    ("Medium", first("delete", "account.member", oldValueJson=ADMIN)),
    ("High", first("2FA_disabled", "user")),
    ("Low", first("2FA_enabled", "user")),
    ("High", first("remove_enforce_twofactor", "account")),
    ("High", first("update", "account", newValueJson={"settings": {"enforce_twofactor": False}})),
    ("High", first("job_delete", "logpush job")),
    ("High", first("job_update", "logpush job", newValueJson={"enabled": False}, oldValueJson={"enabled": True})),
    (
        "Informational",
        first("job_update", "logpush job", newValueJson={"enabled": False}, oldValueJson={"enabled": False}),
    ),
    ("Informational", first("job_update", "logpush job", newValueJson={"enabled": True})),
    ("High", first("delete", "zone")),
    ("Informational", first("purge", "zone")),
    ("Medium", first("token_create", "token")),
    ("Medium", first("API_key_view", "user")),
    ("Medium", first("token_roll", "token")),
    ("Low", first("token_revoke", "token")),
    ("Medium", first("role_changed", "account.member")),
    ("Medium", first("update", "identity_provider")),
    ("Medium", first("delete", "firewall.rule")),
    ("Medium", first("update", "waf_rule", newValueJson=OFF)),
    ("Low", first("change_password", "user")),
    ("Informational", first("login", "user")),
    ("Informational", first("rec_del", "DNS_record")),
]


@pytest.mark.parametrize(
    ("severity", "product"),
    [
        ("Medium", "firewall"),
        ("Medium", "rate_limits"),
        ("Medium", "rulesets"),
        ("Medium", "content_scanning"),
        ("Medium", "leaked_credential_checks"),
        ("High", "zones"),
        ("High", "accounts"),
        ("Informational", "ai_gateway"),
        ("Informational", "google_tag_gateway"),
        ("Informational", "waiting_rooms"),
    ],
)
def test_deleting_a_product_has_the_severity_of_what_it_protects(severity: str, product: str) -> None:
    """What keeps something out is a protection; zones and accounts are more than that, and AI Gateway is less."""
    action = {"type": "delete", "time": "2026-11-01T00:00:00Z"}
    assert severity_of(V2, action=action, resource={"product": product, "id": "r"}) == severity


@pytest.mark.parametrize(("severity", "fields"), RECORDS, ids=range(len(RECORDS)))
def test_event_has_the_severity_of_its_rule(severity: str, fields: dict[str, Any]) -> None:
    """A rule depends on the action, on the outcome, or on what the values turn off or grant."""
    assert severity_of(V1, **fields) == severity


def test_every_rule_is_documented_and_has_a_default() -> None:
    """The table has each rule, in the order in which they apply."""
    assert list(RULES) == list(Rule)
    assert {text.severity for text in RULES.values()} <= LEVELS.keys()


def test_user_changes_the_severity_of_a_rule_and_of_an_action() -> None:
    """An entry for a resource and an action applies before one for a rule, and only to that action."""
    chosen = {"credential_created": "Critical", "token:token_create": "Fatal", "*:purge": "Low", "other": "Low"}
    token = {"type": "create", "time": "2026-11-01T00:00:00Z"}
    assert severity_of(V1, chosen, **first("token_create", "token")) == "Fatal"
    assert severity_of(V2, chosen, action=token, resource={"product": "api_tokens", "id": "t"}) == "Critical"
    assert severity_of(V1, {"*:purge": "Low"}, **first("purge", "zone")) == "Low"
    assert severity_of(V1, chosen, **first("rec_del", "DNS_record")) == "Low"
    assert severity_of(V2, {"dns:*": "Medium"}, action=token, resource={"product": "dns"}) == "Medium"


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"token_made": "High"}, "no rule 'token_made'"),
        ({"a:b:c": "High"}, "no rule 'a:b:c'"),
        ({"zone:": "High"}, "no rule 'zone:'"),
        ({7: "High"}, "no rule 7"),
        ({"other": "high"}, "'Informational', 'Low'"),
        ({"other": 3}, "is 3"),
        (["other"], "is a list"),
    ],
)
def test_wrong_severities_are_refused(chosen: Any, words: str) -> None:
    """The error names what is wrong and what can be given."""
    with pytest.raises(ConfigurationError, match="ocsf_severity") as caught:
        checked_overrides(chosen, "ocsf")
    assert words in str(caught.value)


def test_severities_of_another_schema_are_refused() -> None:
    """Only events have a severity."""
    with pytest.raises(ConfigurationError, match="rows have no severity"):
        checked_overrides({"other": "Low"}, "normalized")


def test_formats_with_other_severities_do_not_resume_each_other() -> None:
    """The bytes of parts depend on the severities, so the resume key does, too."""
    plain, changed = part_format("jsonl", None, "ocsf"), part_format("jsonl", None, "ocsf", {"other": "Low"})
    assert plain.resume_name != changed.resume_name
    assert plain.table == changed.table
