"""OCSF attributes have one meaning for both versions of the API.

The records are made up; their shapes are those of the public samples in docs/contributing/reviewed-samples.md.
"""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest

from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.formats.ocsf.classes import API_ACTIVITY
from airflow_audit_provider.formats.ocsf.meaning import Action, activity_of, meaning_of
from tests.formats.ocsf.ocsf_validation import violations
from tests.formats.odd_records import V1, V2, raw_of, records_of
from tests.formats.rows_of import json_rows, parquet_table

ACCOUNT, USER, MEMBERSHIP, ORGANIZATION = "b" * 32, "a" * 32, "e" * 32, "d" * 32
TIME = "2026-11-01T00:00:00Z"


def event_of(version: ApiVersion, **fields: Any) -> dict[str, Any]:
    """Returns the valid event of a record, which Parquet can hold as well."""
    records = records_of(version, raw_of(version, "r-1", **fields))
    (event,) = json_rows("ocsf", version, records)
    assert violations(event) == []
    assert isinstance(parquet_table("ocsf", version, records), pa.Table)
    return event


# -- activities --------------------------------------------------------------------------------------------------------

ACTIVITIES = {
    "ct_monitoring_subscription_updated": 3, "policy_modified": 3, "record_deleted": 4, "added": 1, "viewed": 2,
    "CreateBucket": 1, "DeleteBucketCors": 4, "PutBucketLifecycle": 3, "AddCustomDomain": 1, "rec_add": 1,
    "ChangeBucketVisibility": 3, "DNSRecordAdd": 1, "rec_set": 3, "gateway_update": 3, "list_item_create": 1,
    "delete_list": 4, "list": 2, "change_setting": 3, "purge": 3, "tls_settings_deployed": 3, "ordered": 3,
    "pending": 3, "red": 99, "need_seed": 99, "ed": 99, "copied": 1, "dropped": 4, "frobnicate": 99, "TimeTravel": 3,
    "create_or_update": 1, "update_or_create": 3, "UpdateCreate": 3, "create_order": 1, "order_created": 1,
}  # fmt: skip


@pytest.mark.parametrize(("action", "activity"), ACTIVITIES.items())
def test_activity_is_that_of_the_actions_verb(action: str, activity: int) -> None:
    """The verb decides in any tense and in any spelling of words; the first of several; without one it is Other."""
    meaning = meaning_of("ocsf", Action(action))
    uid, name = activity_of(meaning.event_class, meaning.sense, action)
    assert (meaning.event_class, uid) == (API_ACTIVITY, activity)
    assert (name == action) == (activity == 99)


@pytest.mark.integration
def test_viewed_member_is_not_changed() -> None:
    """A reading action in the past tense changes no account either."""
    event = event_of(V1, action={"type": "member_viewed"}, resource={"id": MEMBERSHIP, "type": "account.member"})
    assert (event["class_uid"], event["activity_name"]) == (6003, "Read")


# -- actors ------------------------------------------------------------------------------------------------------------

ACTOR_TYPES = [
    ("user", "user", 1, "User"), ("admin", "cloudflare_admin", 2, "Admin"), ("Cloudflare", "system", 3, "System"),
    ("system", "system", 3, "System"), ("", "delegated_service", 4, "Service"), ("", "account", 99, "account"),
]  # fmt: skip


@pytest.mark.parametrize(("first", "second", "type_id", "name"), ACTOR_TYPES)
def test_actor_type_is_the_same_in_both_versions(first: str, second: str, type_id: int, name: str) -> None:
    """Each version's word for a kind of actor is the same type."""
    for version, word in ((V1, first), (V2, second)):
        if word:
            user = event_of(version, actor={"id": USER, "type": word})["actor"]["user"]
            assert (user["type_id"], user["type"]) == (type_id, name)


@pytest.mark.parametrize(("version", "word"), [(V1, "Cloudflare"), (V1, "system"), (V2, "system")])
def test_system_without_an_id_is_one_application(version: ApiVersion, word: str) -> None:
    """The automated system has one name in both versions."""
    assert event_of(version, actor={"type": word})["actor"] == {"app_name": "system"}


# -- tokens ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("context", "kind"), [("api_token", "API Token"), ("oauth", "OAuth Token"), ("api", None)])
def test_token_has_its_kind_and_its_name_is_kept(context: str, kind: str | None) -> None:
    """A credential's type is the kind of token; the token's name is in ``unmapped``, with or without an id."""
    actor = {"id": USER, "type": "user", "context": context, "token_id": "t", "token_name": "deploy"}
    event = event_of(V2, actor=actor)
    (token,) = event["actor"]["user"]["programmatic_credentials"]
    assert (token["uid"], token.get("type"), event["unmapped"]["actor_token_name"]) == ("t", kind, "deploy")
    event = event_of(V2, actor={**actor, "token_id": None})
    assert event["unmapped"]["actor_token_name"] == "deploy"
    assert "programmatic_credentials" not in event["actor"]["user"]


def test_token_of_an_account_is_kept_without_a_user() -> None:
    """An account's token acts for no user: the actor is the account; without one, the token's id is unmapped."""
    actor = {"type": "account", "context": "api_token", "token_id": "t", "token_name": "deploy"}
    event = event_of(V2, actor=actor, account={"id": ACCOUNT})
    assert event["actor"]["user"] == {
        "account": {"uid": ACCOUNT, "type_id": 99, "type": "Cloudflare Account"}, "type_id": 99, "type": "account",
        "programmatic_credentials": [{"uid": "t", "type": "API Token"}],
    }  # fmt: skip
    event = event_of(V2, actor=actor)
    assert (event["actor"], event["unmapped"]["actor_token_id"]) == ({"app_name": "account"}, "t")


# -- account and organization ------------------------------------------------------------------------------------------


def test_organization_is_no_account() -> None:
    """An organization's record has its id as the cloud's organization, an account's as the account."""
    event = event_of(V2, organization={"id": ORGANIZATION})
    assert event["cloud"] == {"provider": "Cloudflare", "org": {"uid": ORGANIZATION}}
    event = event_of(V2, account={"id": ACCOUNT}, organization={"id": ORGANIZATION})
    assert (event["cloud"]["account"]["uid"], event["cloud"]["org"]["uid"]) == (ACCOUNT, ORGANIZATION)
    assert "org" not in event_of(V1, owner={"id": ACCOUNT})["cloud"]


def test_user_who_acted_on_itself_is_no_cloudflare_account() -> None:
    """Version 1's owner is the actor for an action on the user's own account, such as a login."""
    event = event_of(V1, actor={"id": USER, "type": "user"}, owner={"id": USER})
    assert event["cloud"]["account"] == {"uid": USER, "type_id": 99, "type": "Cloudflare User"}
    assert event_of(V1, actor={"id": USER}, owner={"id": ACCOUNT})["cloud"]["account"]["type"] == "Cloudflare Account"


# -- members -----------------------------------------------------------------------------------------------------------

PERSON = {"id": USER, "email": "ann@example.com"}
MEMBER = {"id": MEMBERSHIP, "user": PERSON, "status": "pending"}
BODIES: list[tuple[ApiVersion, dict[str, Any]]] = [
    (V1, {"newValueJson": MEMBER}),
    (V1, {"oldValueJson": MEMBER, "newValueJson": {}}),
    (V1, {"newValueJson": {"member": MEMBER}}),
    (V1, {"newValueJson": {"email": "ann@example.com"}, "oldValueJson": {"user": {"id": USER}}}),
    (V2, {"response": MEMBER}),
    (V2, {"request": {"email": "ann@example.com"}, "response": {"id": MEMBERSHIP, "user": {"id": USER}}}),
]


@pytest.mark.integration
@pytest.mark.parametrize(("version", "body"), BODIES, ids=range(len(BODIES)))
def test_members_user_id_is_the_user_and_the_membership_its_other_id(version: ApiVersion, body: dict[str, Any]) -> None:
    """A person has one id, whether acting or being acted upon; the membership's id is the alternate one."""
    resource = {"id": MEMBERSHIP, "type": "account.member" if version is V1 else "member", "product": "members"}
    if version is V1:
        event = event_of(V1, action={"type": "add"}, resource=resource, owner={"id": ACCOUNT}, **body)
    else:
        event = event_of(V2, action={"type": "create", "time": TIME}, resource={**resource, **body})
    assert event["class_uid"] == 3001
    assert event["user"] == {
        "uid": USER, "name": "ann@example.com", "email_addr": "ann@example.com", "uid_alt": MEMBERSHIP, "type_id": 0,
    }  # fmt: skip


def test_membership_alone_is_not_the_users_id() -> None:
    """A change that names no person is one of a user of the account; without an account it is API activity."""
    resource = {"id": MEMBERSHIP, "type": "member", "product": "members", "response": {"id": MEMBERSHIP}}
    action = {"type": "delete", "time": TIME}
    user = event_of(V2, action=action, resource=resource, account={"id": ACCOUNT})["user"]
    assert (user.get("uid"), user["uid_alt"], user["account"]["uid"]) == (None, MEMBERSHIP, ACCOUNT)
    event = event_of(V2, action=action, resource=resource)
    assert (event["class_uid"], event["resources"][0]["uid"]) == (6003, MEMBERSHIP)


@pytest.mark.parametrize("body", ['{"user":7}', '{"user":{"id":7,"email":[]}}', '{"id":null,"user":{}}', "[1]", '"x"'])
def test_member_in_another_form_is_a_valid_event(body: str) -> None:
    """A body of another form names nobody and breaks nothing."""
    resource = {"id": MEMBERSHIP, "type": "member", "response": json.loads(body)}
    assert event_of(V2, resource=resource, account={"id": ACCOUNT})["user"]["uid_alt"] == MEMBERSHIP
