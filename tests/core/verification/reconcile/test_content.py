"""Values that Logpush and the API write in two ways are equal, and no other ones are."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord
from airflow_audit_provider.core.verification.reconcile.content import (
    archived_hashes,
    committed_hashes,
    differing_columns,
)

V1, V2 = ApiVersion.V1, ApiVersion.V2
EMPTY: list[Any] = [None, "", "null", {}, []]


def differences(version: ApiVersion, record: dict[str, Any], row: dict[str, Any]) -> list[str]:
    """Returns the fields in which an API record and a Logpush row differ."""
    committed = committed_hashes(version, AuditRecord(1, "a", json.dumps(record).encode()))
    return list(differing_columns(version, committed, archived_hashes(version, row)))


@pytest.mark.parametrize("empty", EMPTY)
def test_empty_values_are_equal_to_a_missing_one(empty: Any) -> None:
    """Null, an empty text, object or list, and the text null are equal to each other and to no field at all."""
    assert not differences(V1, {}, {"Metadata": empty, "ActorEmail": empty})
    assert not differences(V1, {"metadata": empty, "actor": {"email": empty}}, {"Metadata": {}, "ActorEmail": ""})
    assert differences(V1, {"metadata": empty}, {"Metadata": {"a": 1}}) == ["Metadata"]


@pytest.mark.parametrize(
    ("record", "row"),
    [
        ({"action": {"result": True}}, {"ActionResult": "true"}),
        ({"action": {"result": False}}, {"ActionResult": "False"}),
        ({"resource": {"id": "12"}}, {"ResourceID": 12}),
        ({"metadata": {"b": [1, None], "a": "ü"}}, {"Metadata": '{"a":"\\u00fc", "b":[1,null]}'}),
        ({"newValue": "high"}, {"NewValue": "high"}),
        ({"newValue": "null", "newValueJson": {"a": 1}}, {"NewValue": {"a": 1}}),
        ({"newValue": '{"a":1}', "newValueJson": {"a": 1, "b": 2}}, {"NewValue": {"a": 1}}),
        ({"newValue": "", "newValueJson": {"a": 1}}, {"NewValue": {"a": 1}}),
        ({"newValue": "high", "newValueJson": {}}, {"NewValue": "high"}),
        ({"metadata": {"x": "${jndi:a}"}}, {"Metadata": {"x": "x{jndi:a}"}}),
    ],
)
def test_documented_equivalences_are_equal(record: dict[str, Any], row: dict[str, Any]) -> None:
    """Each equivalence of the documentation holds."""
    assert not differences(V1, record, row)


@pytest.mark.parametrize(
    ("record", "row"),
    [
        ({"action": {"result": True}}, {"ActionResult": "false"}),
        ({"action": {"result": False}}, {"ActionResult": ""}),
        ({"actor": {"email": "a@example.com"}}, {"ActorEmail": "A@example.com"}),
        ({"newValue": "low", "newValueJson": {"a": 1}}, {"NewValue": "high"}),
        ({"metadata": {"a": [1, 2]}}, {"Metadata": {"a": [2, 1]}}),
        ({"metadata": {"a": 2**70}}, {"Metadata": {"a": 2**70 + 1}}),
        ({"newValue": "", "newValueJson": {"a": 1}}, {"NewValue": {}}),
        ({"newValue": "high"}, {"NewValue": {}}),
        ({"newValue": "high", "newValueJson": {}}, {"NewValue": ""}),
        ({}, {"NewValue": "high"}),
        ({"action": {"result": "Success"}}, {"ActionResult": "success"}),
        ({"resource": {"id": "1"}}, {"ResourceID": "1.0"}),
    ],
)
def test_other_values_differ(record: dict[str, Any], row: dict[str, Any]) -> None:
    """A different value is named by its field."""
    assert differences(V1, record, row) == list(row)


def test_fields_that_a_row_does_not_have_are_not_compared() -> None:
    """A job that sends a subset of fields is compared in these."""
    assert not differences(V1, {"interface": "UI", "actor": {"id": "1"}}, {"ActorID": "1"})


def test_parts_of_objects_are_compared_by_any_spelling() -> None:
    """The parts of Raw and ActorTokenDetails are found by name without case and punctuation, in JSON text too."""
    record = {"raw": {"cf_ray_id": "r", "status_code": 200}, "actor": {"token_id": "t", "token_name": "n"}}
    assert not differences(V2, record, {"Raw": '{"CFRayID":"r","StatusCode":"200"}', "ActorTokenDetails": {"ID": "t"}})
    assert differences(V2, record, {"Raw": {"cfRayID": "x"}, "ActorTokenDetails": {"TokenName": "m"}}) == [
        "ActorTokenDetails.token_name",
        "Raw.cf_ray_id",
    ]


@pytest.mark.parametrize("empty", [*EMPTY, "{}"])
def test_parts_of_an_empty_object_are_empty(empty: Any) -> None:
    """A row whose object is empty lacks each part that the record has."""
    record = {"raw": {"uri": "/x"}, "actor": {"token_id": "t"}}
    assert differences(V2, record, {"Raw": empty}) == ["Raw.uri"]
    assert differences(V2, record, {"ActorTokenDetails": empty}) == ["ActorTokenDetails.token_id"]
    assert not differences(V2, {}, {"Raw": empty, "ActorTokenDetails": empty})


def test_scope_that_is_an_object_is_not_compared() -> None:
    """The text that Logpush shows of a scope with parts is not documented, so only texts are compared."""
    assert not differences(V2, {"resource": {"scope": {"name": "zones"}}}, {"ResourceScope": "zones"})
    assert differences(V2, {"resource": {"scope": "zones"}}, {"ResourceScope": "accounts"}) == ["ResourceScope"]
