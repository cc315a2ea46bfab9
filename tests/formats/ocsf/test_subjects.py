"""Events name who signed in, whose account and which identity was changed, and why an action failed.

The records are made up; their shapes are those of the public samples in docs/contributing/reviewed-samples.md.
"""

from __future__ import annotations

from typing import Any

import pytest

from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.core.privacy.rule import PrivacyRule, read_privacy
from airflow_audit_provider.formats.options import OCSF_SCHEMAS
from tests.formats.ocsf.ocsf_validation import VERSIONS, violations
from tests.formats.odd_records import V1, V2, raw_of, records_of
from tests.formats.rows_of import json_rows

ACCOUNT, USER, OTHER_USER, TOKEN, MEMBERSHIP = "b" * 32, "a" * 32, "c" * 32, "d" * 32, "e" * 32
TIME = "2026-11-01T00:00:00Z"
ANN = {"id": USER, "email": "ann@example.com", "type": "user", "ip": "192.0.2.1"}


def event_of(version: ApiVersion, schema: str = "ocsf", **fields: Any) -> dict[str, Any]:
    """Returns the valid event of a record."""
    (event,) = json_rows(schema, version, records_of(version, raw_of(version, "r-1", **fields)))
    assert violations(event, VERSIONS[schema]) == []
    return event


def second(action: str, product: str, *, result: str = "success", **fields: Any) -> dict[str, Any]:
    """Returns the fields of a record of version 2."""
    names = ("description", "request", "response", "id", "type")
    resource = {name: fields[name] for name in names[1:] if name in fields}
    return {
        "action": {"type": action, "result": result, "time": TIME, "description": fields.get("description", "")},
        "actor": {"id": USER, "email": "ann@example.com", "type": "user", "ip_address": "192.0.2.1"},
        "account": {"id": ACCOUNT},
        "resource": {"product": product, **resource},
    }


# -- sign-ins ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schema", OCSF_SCHEMAS)
@pytest.mark.parametrize(
    ("version", "fields", "activity"),
    [
        (V1, {"action": {"type": "login", "result": True}, "actor": ANN, "resource": {"type": "account"}}, "Logon"),
        (V1, {"action": {"type": "logout", "result": True}, "actor": ANN, "resource": {"type": "user"}}, "Logoff"),
        (V2, second("create", "login", type="session", description="Log in"), "Logon"),
        (V2, second("delete", "login", type="session"), "Logoff"),
    ],
)
def test_sign_in_is_authentication_of_its_user(
    schema: str, version: ApiVersion, fields: dict[str, Any], activity: str
) -> None:
    """Both versions and every release of OCSF have the user, the address and the service of a sign-in."""
    event = event_of(version, schema, **fields)
    assert (event["class_uid"], event["activity_name"], event["status"]) == (3002, activity, "Success")
    assert event["user"] == {"uid": USER, "name": "ann@example.com", "email_addr": "ann@example.com", "type_id": 1}
    assert (event["src_endpoint"], event["service"]) == ({"ip": "192.0.2.1"}, {"name": "Cloudflare"})
    assert "is_mfa" not in event


def test_failed_sign_in_states_its_reason() -> None:
    """The reason is in the response, in the metadata, or in version 1's description of the action."""
    failed: dict[str, Any] = {"action": {"type": "login", "result": False}, "actor": ANN}
    event = event_of(V1, **failed, metadata={"reason": "wrong password"})
    assert (event["status"], event["status_detail"], event["severity"]) == ("Failure", "wrong password", "Low")
    event = event_of(V1, **{**failed, "action": {**failed["action"], "info": "account is locked"}})
    assert event["status_detail"] == "account is locked"
    response = {"errors": [{"code": 1001, "message": "Invalid TOTP code"}]}
    event = event_of(V2, **second("create", "login", result="failure", response=response, description="Log in"))
    assert (event["class_uid"], event["status_detail"]) == (3002, "Invalid TOTP code")
    event = event_of(V2, **second("update", "dns_records", result="failure", description="Update record"))
    assert (event["status"], event.get("status_detail"), event["severity"]) == ("Failure", None, "Low")


@pytest.mark.parametrize(("flag", "is_mfa"), [({"mfa": True}, True), ({"2fa": False}, False), ({"mfa": "x"}, None)])
def test_sign_in_states_a_second_factor_only_if_the_record_does(flag: dict[str, Any], is_mfa: bool | None) -> None:
    """``is_mfa`` is what the record says of a second factor, and missing if it says nothing."""
    event = event_of(V1, action={"type": "login"}, actor=ANN, metadata=flag)
    assert event.get("is_mfa") is is_mfa
    assert event_of(V1, action={"type": "login_2FA"}, actor=ANN)["is_mfa"] is True


def test_sign_in_names_its_protocol_and_an_unknown_user() -> None:
    """The constant of a description decides; OCSF requires a user, also if the record names none."""
    event = event_of(V2, **second("create", "", description="SSO_LOGIN"))
    assert (event["class_uid"], event["auth_protocol"], event["auth_protocol_id"]) == (3002, "SSO", 99)
    assert event_of(V1, action={"type": "login"})["user"] == {"name": "unknown", "type_id": 0}
    event = event_of(V1, action={"type": "login"}, metadata={"email": "eve@example.com"})
    assert event["user"]["email_addr"] == "eve@example.com"


# -- accounts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schema", OCSF_SCHEMAS)
@pytest.mark.parametrize(
    ("action", "activity"),
    [
        ("2FA_disabled", "MFA Factor Disable"),
        ("2FA_enabled", "MFA Factor Enable"),
        ("password_changed", "Password Change"),
        ("reset_password", "Password Reset"),
        ("user_locked", "Lock"),
        ("user_suspended", "Disable"),
    ],
)
def test_change_of_the_own_account_names_the_user(schema: str, action: str, activity: str) -> None:
    """The actor is the user; if the resource is another user, that is the one."""
    event = event_of(V1, schema, action={"type": action}, actor=ANN, resource={"type": "user", "id": USER})
    assert (event["class_uid"], event["activity_name"], event["user"]["uid"]) == (3001, activity, USER)
    event = event_of(V1, schema, action={"type": action}, actor=ANN, resource={"type": "user", "id": OTHER_USER})
    assert (event["user"]["uid"], event["actor"]["user"]["uid"]) == (OTHER_USER, USER)


def test_unlock_is_an_update_where_the_release_has_no_unlock() -> None:
    """OCSF 1.8 has Unlock; before it, the event is API Activity."""
    fields: dict[str, Any] = {
        "action": {"type": "user_unlocked"},
        "actor": ANN,
        "resource": {"type": "user", "id": USER},
    }
    assert event_of(V1, **fields)["type_name"] == "Account Change: Unlock"
    assert event_of(V1, "ocsf-1.3", **fields)["type_name"] == "API Activity: Update"


# -- identities --------------------------------------------------------------------------------------------------------


def test_token_is_an_entity_with_its_id_and_name() -> None:
    """Version 1 has both in its metadata, version 2 in the resource and the bodies."""
    fields: dict[str, Any] = {"actor": ANN, "owner": {"id": USER}, "resource": {"type": "account", "id": USER}}
    event = event_of(
        V1, **fields, action={"type": "token_create"}, metadata={"token_tag": TOKEN, "token_name": "deploy"}
    )
    assert event["type_name"] == "Entity Management: Create"
    assert event["entity"] == {"uid": TOKEN, "name": "deploy", "type": "API Token"}
    event = event_of(V2, **second("update", "api_tokens", id=TOKEN, type="token", response={"name": "deploy"}))
    assert (event["type_name"], event["severity"]) == ("Entity Management: Update", "Medium")
    assert event["entity"] == {"uid": TOKEN, "name": "deploy", "type": "API Token"}
    event = event_of(V1, **fields, action={"type": "API_key_view"})
    assert (event["type_name"], event["entity"]["name"]) == ("Entity Management: Read", "API Key")


@pytest.mark.parametrize("schema", ["ocsf-1.3", "ocsf-1.1"])
def test_token_is_api_activity_in_releases_whose_entity_has_no_actor(schema: str) -> None:
    """Who created the token is more than the class."""
    event = event_of(V2, schema, **second("create", "api_tokens", id=TOKEN, type="token"))
    assert (event["type_name"], event["actor"]["user"]["uid"]) == ("API Activity: Create", USER)
    assert event["severity"] == "Medium"


def test_roles_of_a_member_are_privileges() -> None:
    """Roles that are new are assigned, roles that are gone are revoked; without roles the membership is updated."""
    resource = {"type": "account.member", "id": MEMBERSHIP}
    member = {"user": {"id": OTHER_USER, "email": "bob@example.com"}}
    few, many = [{"id": "1", "name": "DNS"}], [{"id": "1", "name": "DNS"}, {"id": "2", "name": "Super Administrator"}]
    fields: dict[str, Any] = {"actor": ANN, "action": {"type": "update", "result": True}, "resource": resource}
    event = event_of(V1, **fields, newValueJson={**member, "roles": many}, oldValueJson={**member, "roles": few})
    assert event["type_name"] == "User Access Management: Assign Privileges"
    assert (event["privileges"], event["severity"]) == (["Super Administrator"], "High")
    assert (event["user"]["uid"], event["user"]["uid_alt"]) == (OTHER_USER, MEMBERSHIP)
    event = event_of(V1, **fields, newValueJson={**member, "roles": few}, oldValueJson={**member, "roles": many})
    assert event["type_name"] == "User Access Management: Revoke Privileges"
    assert (event["privileges"], event["severity"]) == (["Super Administrator"], "Medium")
    event = event_of(V1, **fields, newValueJson={"status": "accepted"})
    assert event["type_name"] == "Entity Management: Update"
    assert event["entity"] == {"uid": MEMBERSHIP, "type": "Account Member"}


def test_new_attributes_are_pseudonymized() -> None:
    """Names of users and entities are made of the record under the privacy rule."""
    request = read_privacy({"conn_id": "c"})
    assert request is not None
    rule = PrivacyRule(request, b"k" * 32)
    metadata = {"token_tag": TOKEN, "token_name": "bob@example.com"}
    record = raw_of(V1, "r", actor=ANN, action={"type": "token_create"}, metadata=metadata)
    failed = {"type": "login", "result": False}
    login = raw_of(V1, "s", actor=ANN, action=failed, metadata={"error": "no ann@example.com"})
    records = rule.apply(V1, records_of(V1, record, login))
    events = json_rows("ocsf", V1, records)
    assert "example.com" not in str(events)
    assert events[0]["entity"]["name"].startswith("hmac:")
    assert events[1]["user"]["name"].startswith("hmac:")
