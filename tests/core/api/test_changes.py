"""Tests that a change states the values before and after that records show, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from airflow_audit_provider.core.api.changes import Change, History, change_of, changes_of, resource_of
from airflow_audit_provider.core.api.difference import MOST_CHARACTERS, changed_fields, difference_of
from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord, read_records
from airflow_audit_provider.testing.changes import seeded_changes

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
)


def _v1(**fields: Any) -> Change:
    raw = msgspec.json.encode({"id": "1", "when": "2026-10-26T00:00:00Z", **fields})
    return change_of(ApiVersion.V1, read_records(ApiVersion.V1, [raw])[0])


def _v2(number: int, action: str, method: str = "PATCH", **resource: Any) -> AuditRecord:
    record = {
        "id": f"r{number}",
        "action": {
            "time": f"2026-10-26T00:00:{number:02}Z",
            "type": action,
            "result": resource.pop("outcome", "success"),
        },
        "raw": {"method": method},
        "resource": {"id": "x", **resource},
    }
    return read_records(ApiVersion.V2, [msgspec.json.encode(record)])[0]


def _response(**value: Any) -> dict[str, Any]:
    return {"success": True, "result": value}


@pytest.mark.parametrize(
    ("fields", "before", "after", "status"),
    [
        ({"oldValueJson": {"ttl": 1}, "newValueJson": {"ttl": 2}}, {"ttl": 1}, {"ttl": 2}, "recorded"),
        ({"oldValue": '{"ttl": 1}', "newValue": '{"ttl": 2}'}, {"ttl": 1}, {"ttl": 2}, "recorded"),
        ({"oldValue": "medium", "newValue": "high"}, "medium", "high", "recorded"),
        ({"oldValue": "null", "newValueJson": {"a": 1}}, None, {"a": 1}, "recorded"),
        ({"oldValue": "null", "oldValueJson": {"a": 1}, "newValue": "null"}, {"a": 1}, None, "recorded"),
        ({"oldValue": "", "newValue": ""}, UNSET, UNSET, "missing"),
        ({"newValue": 17}, UNSET, 17, "recorded"),
        ({}, UNSET, UNSET, "missing"),
    ],
)
def test_version_1_change_has_the_values_of_the_record(
    fields: dict[str, Any], before: Any, after: Any, status: str
) -> None:
    """A record of version 1 has its own values, as JSON or as text, and an empty text is none."""
    found = _v1(**fields)
    assert (found.before, found.after, found.history_status, found.source) == (before, after, status, "record")


def test_version_2_changes_are_the_true_ones() -> None:
    """With the history of its resource, each of 200 changes has its true values and the fields that differ."""
    changes = seeded_changes(5, [10**9 * number for number in range(1, 201)])
    records = read_records(ApiVersion.V2, [change.raw for change in changes])
    for change, record in zip(changes, records, strict=True):
        same = [one for one, other in zip(records, changes, strict=True) if other.resource_id == change.resource_id]
        found = change_of(ApiVersion.V2, record, History("exact", tuple(same)))
        assert (found.before, found.after, found.history_status) == (change.before, change.after, "exact")
        assert found.fields == changed_fields(change.before, change.after)


@pytest.mark.parametrize("status", ["unavailable", "not_found", "forbidden", "not_asked"])
def test_version_2_change_without_a_history_says_why(status: str) -> None:
    """Without a history, the value before is unknown, and the value after is that of the response."""
    found = change_of(ApiVersion.V2, _v2(5, "update", response=_response(id="x", ttl=2)), History(status))
    assert (found.before, found.after, found.fields) == (UNSET, {"id": "x", "ttl": 2}, ())
    assert found.history_status == status


@pytest.mark.parametrize(
    ("earlier", "before", "status"),
    [
        ([], UNSET, "expired"),
        ([_v2(1, "update")], UNSET, "no_state"),
        ([_v2(1, "update", request={"ttl": 7})], UNSET, "no_state"),
        ([_v2(1, "update", "PUT", request={"ttl": 7})], {"ttl": 7}, "exact"),
        (
            [_v2(1, "create", "POST", request={"ttl": 7}), _v2(2, "update", request={"x": 1})],
            {"ttl": 7, "x": 1},
            "exact",
        ),
        ([_v2(1, "create", "POST", request={"ttl": 7}), _v2(2, "delete", "DELETE")], None, "exact"),
        (
            [_v2(1, "update", response=_response(id="x", ttl=1)), _v2(2, "update", outcome="failure")],
            {"id": "x", "ttl": 1},
            "exact",
        ),
    ],
)
def test_version_2_value_before_is_what_earlier_records_leave(
    earlier: list[AuditRecord], before: Any, status: str
) -> None:
    """Requests, responses, deletions and failures of earlier records give the value before, as far as they show it."""
    record = _v2(5, "update", response=_response(id="x", ttl=9))
    found = change_of(ApiVersion.V2, record, History("exact", (*earlier, record)))
    assert (found.before, found.history_status) == (before, status)


def test_version_2_change_at_the_time_of_another_is_ambiguous() -> None:
    """Two changes of one resource at one time have no order, so the value before is not stated."""
    first, record = _v2(1, "create", "POST", request={"ttl": 1}), _v2(5, "update", response=_response(id="x", ttl=9))
    other = msgspec.structs.replace(record, id="other")
    found = change_of(ApiVersion.V2, record, History("exact", (first, other, record)))
    assert (found.before, found.history_status) == (UNSET, "ambiguous")


def test_changes_of_one_resource_are_those_of_each_record_alone() -> None:
    """Deriving many changes at once reads each record of the history once, and gives the same changes."""
    changes = seeded_changes(6, [10**9 * (number // 2) for number in range(2, 90)], 2)
    records = read_records(ApiVersion.V2, [change.raw for change in changes])
    for resource in {change.resource_id for change in changes}:
        same = [one for one, other in zip(records, changes, strict=True) if other.resource_id == resource]
        history = History("exact", tuple(same))
        alone = [change_of(ApiVersion.V2, record, history) for record in same[5:]]
        assert changes_of(ApiVersion.V2, same[5:], history) == alone
        assert {change.history_status for change in alone} == {"exact", "ambiguous"}


@given(st.binary(max_size=40) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_record_has_a_change(content: bytes) -> None:
    """Bytes that are no record, and records with any values, give a change of both versions."""
    for version in ApiVersion:
        (record,) = read_records(version, [content])
        assert change_of(version, record, History("exact", (record,))).fields == ()


@given(VALUES, VALUES)
def test_difference_is_empty_only_for_equal_values(before: Any, after: Any) -> None:
    """Two values have no difference if and only if they are the same JSON, and each line has two different texts."""
    found = difference_of(before, after, 10_000)
    is_same = json.dumps(before, sort_keys=True) == json.dumps(after, sort_keys=True)
    assert (found.lines == ()) is is_same
    assert all(line.before != line.after for line in found.lines)
    assert difference_of(before, before).lines == ()


@given(VALUES, VALUES)
def test_difference_of_the_other_direction_has_the_same_fields(before: Any, after: Any) -> None:
    """The other direction has the same fields with their texts exchanged."""
    there, back = (difference_of(*pair, 10_000).lines for pair in ((before, after), (after, before)))
    assert {(line.path, line.before, line.after) for line in there} == {
        (line.path, line.after, line.before) for line in back
    }


def test_difference_is_readable() -> None:
    """A line names the path of a field, and its values as JSON; a field that is missing has no value."""
    before = {"ttl": 1, "data": {"tags": ["a", "b"], "x": 1}, "old": None}
    after = {"ttl": 2, "data": {"tags": ["a", "c", "d"], "x": 1}, "new": "é"}
    assert [tuple(line) for line in difference_of(before, after).lines] == [
        ("ttl", "1", "2"),
        ("data.tags[1]", '"b"', '"c"'),
        ("data.tags[2]", None, '"d"'),
        ("old", "null", None),
        ("new", None, '"é"'),
    ]
    assert [tuple(line) for line in difference_of(None, {"a": 1}).lines] == [("(whole value)", "null", '{"a": 1}')]
    assert difference_of(UNSET, after).lines == ()


def test_difference_of_large_values_is_bounded() -> None:
    """Thousands of fields, a text of a megabyte and a deep value give a bounded difference."""
    many = difference_of({}, {str(number): number for number in range(5000)})
    assert (len(many.lines), many.has_more) == (200, True)
    (long,) = difference_of({"a": ""}, {"a": "x" * 1_000_000}).lines
    assert long.after is not None
    assert len(long.after) < MOST_CHARACTERS + 40
    assert long.after.endswith("999,702 more characters)") or "more characters" in long.after
    deep: Any = 1
    for _ in range(50_000):
        deep = [deep]
    assert len(difference_of(deep, [deep]).lines) == 1


def test_resources_of_equal_name_in_two_zones_are_two() -> None:
    """The setting "ssl" of one zone says nothing about that of another one."""
    made = []
    for zone in ("z1", "z2"):
        raw = {"id": zone, "action": {"time": "2026-10-26T00:00:00Z"}, "zone": {"id": zone}, "resource": {"id": "ssl"}}
        made += read_records(ApiVersion.V2, [msgspec.json.encode(raw)])
    assert len({resource_of(one) for one in made}) == 2


@pytest.mark.parametrize("method", ["DELETE", "", None])
def test_request_of_unknown_meaning_leaves_the_value_unknown(method: Any) -> None:
    """Only the body of a PUT or POST is a whole value, and only that of a PATCH is a part of one."""
    history = [_v2(1, "create", "POST", response=_response(id="x", a=1)), _v2(2, "update", method, request={"b": 2})]
    assert change_of(ApiVersion.V2, history[1], History("exact", tuple(history))).after is UNSET
