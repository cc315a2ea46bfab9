"""OCSF events: every record of both versions, however odd, is valid by an independent schema."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_audit_provider.core.api.records import ApiVersion
from tests.formats.ocsf.ocsf_validation import violations
from tests.formats.odd_records import V1, V2, odd_records, records_of
from tests.formats.rows_of import fake_records, json_rows, parquet_table
from tests.formats.sample_records import FIRST_V1, FIRST_V2

BOTH = pytest.mark.parametrize("version", [V1, V2])


def event_of(version: ApiVersion, record: dict[str, Any]) -> dict[str, Any]:
    """Returns the one event of a record after validation."""
    (event,) = json_rows("ocsf", version, records_of(version, json.dumps(record).encode()))
    assert violations(event) == []
    return event


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"type_uid": 600302, "activity_id": 7}, "activity_id"),
        ({"time": "now"}, "time"),
        ({"actor": {}}, "actor"),
        ({"src_endpoint": {"ip": "hmac:0123"}}, "src_endpoint"),
        ({"surprise": 1}, "surprise"),
        ({"metadata": {"version": "1.8.0"}}, "product"),
    ],
)
def test_validation_finds_each_violation(change: dict[str, Any], words: str) -> None:
    """A wrong number, type or address, an empty object, and an unknown or missing attribute are violations."""
    assert words in " ".join(violations(event_of(V2, FIRST_V2) | change))


def test_api_request_is_api_activity() -> None:
    """Actor, endpoint, request, response, resource and outcome are in OCSF's attributes."""
    event = event_of(V2, FIRST_V2)
    assert (event["class_uid"], event["activity_name"], event["type_uid"]) == (6003, "Update", 600303)
    assert (event["status"], event["time_dt"]) == ("Failure", "2026-11-01T00:00:00.000000Z")
    assert event["actor"]["user"] == {
        "uid": "u1", "name": "a@example.com", "email_addr": "a@example.com", "type_id": 1, "type": "User",
        "programmatic_credentials": [{"uid": "t1"}],
    }  # fmt: skip
    assert event["src_endpoint"] == {"ip": "192.0.2.1"}
    assert event["http_request"] == {"http_method": "PATCH", "url": {"path": "/zones/z1"}, "user_agent": "curl"}
    assert event["api"]["request"] == {"uid": "r1", "data": {"ttl": 2}}
    assert event["api"]["response"] == {"code": 403, "data": [1]}
    assert event["resources"] == [{"uid": "d1", "type": "record", "group": {"name": "dns_records"}}]
    assert event["cloud"]["account"]["uid"] == "o1"


def test_fields_without_an_attribute_are_in_unmapped() -> None:
    """Values before and after, zone and metadata have no attribute and are in ``unmapped``."""
    event = event_of(V1, FIRST_V1)
    assert event["unmapped"] == {
        "interface": "UI", "zone_id": "z1", "zone_name": "example.com", "before": {"ttl": 1.1}, "after": "high",
        "metadata": {"zone_name": "example.com", "zone_id": "z1"},
    }  # fmt: skip
    assert event["time"] == 1793491200123


def test_member_change_is_an_account_change() -> None:
    """The changed account is the member's e-mail address, or else the account with the membership's id."""
    member = {**FIRST_V1, "action": {"type": "add", "result": True}, "resource": {"id": "m1", "type": "account.member"}}
    event = event_of(V1, {**member, "newValueJson": {"user": {"email": "new@example.com"}}})
    assert (event["class_uid"], event["activity_name"], event["type_uid"]) == (3001, "Create", 300101)
    assert event["user"] == {"uid_alt": "m1", "name": "new@example.com", "email_addr": "new@example.com", "type_id": 0}
    account = {"uid": "o1", "type_id": 99, "type": "Cloudflare Account"}
    assert event_of(V1, member)["user"] == {"uid_alt": "m1", "account": account, "type_id": 0}
    assert event_of(V1, {**member, "newValueJson": {"email": 7}})["user"]["uid_alt"] == "m1"


@pytest.mark.parametrize(
    "change",
    [
        {"resource": {"type": "account.member"}},
        {"action": {"type": "view", "result": True}},
        {"resource": {"type": "zone"}},
    ],
)
def test_other_action_is_api_activity(change: dict[str, Any]) -> None:
    """An unnamed member, a read of a member and another resource are API activity."""
    member = {**FIRST_V1, "resource": {"id": "m1", "type": "account.member"}, "action": {"type": "add"}}
    assert event_of(V1, {**member, **change})["class_uid"] == 6003


def test_a_pseudonym_is_a_name_and_no_address() -> None:
    """OCSF requires valid addresses; any other text is a name."""
    actor = {"email": "hmac:01", "ip": "hmac:02", "type": "user"}
    event = event_of(V1, {**FIRST_V1, "actor": actor})
    assert event["actor"]["user"] == {"name": "hmac:01", "type_id": 1, "type": "User"}
    assert event["src_endpoint"] == {"name": "hmac:02"}


def test_system_actor_is_an_application() -> None:
    """The system has neither id nor address."""
    event = event_of(V1, {**FIRST_V1, "actor": {"type": "system"}, "interface": ""})
    assert (event["actor"], event["src_endpoint"]) == ({"app_name": "system"}, {"name": "unknown"})


FREE_FORM = (
    ("api", "request", "data"), ("api", "response", "data"), ("unmapped", "resource_scope"), ("unmapped", "before"),
    ("unmapped", "after"), ("unmapped", "metadata"),
)  # fmt: skip


@pytest.mark.integration
@BOTH
def test_parquet_has_the_same_events(version: ApiVersion) -> None:
    """Objects are structs with the same values; free-form JSON inside them is text."""
    records = [*fake_records(version, 200), *odd_records(version)]
    table = parquet_table("ocsf", version, records)
    for row, event in zip(table.to_pylist(), json_rows("ocsf", version, records), strict=True):
        row["time_dt"] = f"{row['time_dt']:%Y-%m-%dT%H:%M:%S.%fZ}"
        plain = _without_nulls(row)
        for *groups, name in FREE_FORM:
            place = plain
            for group in groups:
                place = place.get(group, {})
            if name in place:
                place[name] = json.loads(place[name])
        assert plain == event


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: inner for name, one in value.items() if (inner := _without_nulls(one)) is not None} or None
    return [_without_nulls(one) for one in value] if isinstance(value, list) else value
