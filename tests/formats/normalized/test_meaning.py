"""A column has one meaning: the value is found wherever either version of the API puts it.

The records are made up; their shapes are those of the public samples in docs/contributing/reviewed-samples.md.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from airflow_audit_provider.core.api.records import ApiVersion, lines_of
from airflow_audit_provider.core.warehouse.port import ColumnType
from airflow_audit_provider.formats.normalized.columns import COLUMNS
from airflow_audit_provider.formats.normalized.decode import _lenient_table, normalize
from tests.formats.odd_records import V1, V2, raw_of, records_of
from tests.formats.rows_of import json_rows

ZONE, ACCOUNT, USER = "c" * 32, "b" * 32, "a" * 32
EMPTY: list[Any] = [{}, [], "", "null", None]


def row_of(version: ApiVersion, **fields: Any) -> dict[str, Any]:
    """Returns the row of a record with these fields; both ways to decode it have the same values, none of them odd."""
    records = records_of(version, raw_of(version, "r-1", **fields))
    type_mismatches: Counter[str] = Counter()
    fast = normalize(version, records, lines_of(records), type_mismatches)
    slow = _lenient_table(version, records[0].raw, type_mismatches)
    assert not type_mismatches
    for name, (value,) in fast.items():
        assert (value.decode() if isinstance(value, bytes) else value) == slow[name][0]
    (row,) = json_rows("normalized", version, records)
    return row


# -- before and after --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beside", EMPTY, ids=str)
def test_value_beside_an_empty_one_is_in_its_column(beside: Any) -> None:
    """Of two spellings of a value, the one that states something is taken, whichever it is."""
    row = row_of(V1, oldValue="off", oldValueJson=beside, newValue="on", newValueJson=beside)
    assert (row["before"], row["after"]) == ('"off"', '"on"')
    text = beside if isinstance(beside, str) else ""
    row = row_of(V1, oldValue=text, oldValueJson={"ttl": 1}, newValue=text, newValueJson={"ttl": 2})
    assert (row["before"], row["after"]) == ('{"ttl": 1}', '{"ttl": 2}')


@pytest.mark.parametrize("beside", EMPTY, ids=str)
def test_two_empty_values_stay_what_they_are(beside: Any) -> None:
    """An empty object or list without another value is itself; an empty text is null."""
    row = row_of(V1, oldValue="", oldValueJson=beside, newValueJson=beside)
    expected = json.dumps(beside) if isinstance(beside, dict | list) else None
    assert (row["before"], row["after"]) == (expected, expected)


@pytest.mark.parametrize("value", [b"{ }", b"[\t]", b'{"a":0}', b"0", b"false"])
def test_only_an_empty_value_is_replaced(value: bytes) -> None:
    """Space inside an empty object does not fill it; zero and false are values."""
    raw = raw_of(V1, "r-1", newValue="on").replace(b'"newValue"', b'"newValueJson":' + value + b',"newValue"')
    (row,) = json_rows("normalized", V1, records_of(V1, raw))
    assert row["after"] == ('"on"' if value[1:2] in (b" ", b"\t") else value.decode())


# -- zone --------------------------------------------------------------------------------------------------------------

NAMED = {"zone_name": "example.com"}
ZONES: dict[str, dict[str, Any]] = {
    "certificate pack": {"metadata": {**NAMED, "zone_tag": ZONE}, "resource": {"id": "p", "type": "certificate_pack"}},
    "zone added": {"metadata": {**NAMED, "zone_id": ZONE}, "resource": {"id": ACCOUNT, "type": "account"}},
    "zone setting": {"metadata": NAMED, "resource": {"id": ZONE, "type": "zone"}},
    "zone without metadata": {"resource": {"id": ZONE, "type": "zone"}},
    "empty id": {"metadata": {"zone_id": "", "zone_tag": None}, "resource": {"id": ZONE, "type": "zone"}},
    "own id first": {"metadata": {"zone_id": ZONE, "zone_tag": "t"}, "resource": {"id": "z", "type": "zone"}},
}


@pytest.mark.parametrize("name", ZONES)
def test_zone_id_is_found_in_each_of_its_places(name: str) -> None:
    """Version 1 has the zone's id in three places; version 2's rows have the same id in the same column."""
    assert row_of(V1, **ZONES[name])["zone_id"] == ZONE
    assert row_of(V2, zone={"id": ZONE})["zone_id"] == ZONE


@pytest.mark.parametrize("name", ZONES)
def test_zone_id_is_the_same_among_other_records(name: str) -> None:
    """A record beside others, odd ones too, has the zone id that it has alone."""
    raws = [raw_of(V1, each, **ZONES[each]) for each in ZONES]
    odd = raw_of(V1, "odd", actor={"email": {"a": 1}}, **ZONES[name])
    rows = json_rows("normalized", V1, records_of(V1, *raws, raw_of(V1, "none"), odd))
    assert [row["zone_id"] for row in rows] == [*[ZONE] * len(ZONES), None, ZONE]


def test_resource_of_another_type_is_no_zone() -> None:
    """Only the id of a resource of type zone is a zone id; one of an unreadable type is counted, but not here."""
    assert row_of(V1, metadata=NAMED, resource={"id": "10715065315", "type": "DNS_record"})["zone_id"] is None
    type_mismatches: Counter[str] = Counter()
    records = records_of(V1, raw_of(V1, "r-1", resource={"id": ZONE, "type": ["zone"]}))
    assert normalize(V1, records, lines_of(records), type_mismatches)["zone_id"] == [None]
    assert type_mismatches == {"resource_type": 1}


# -- owner -------------------------------------------------------------------------------------------------------------

ORGANIZATION = "d" * 32


def test_owner_is_the_account_or_the_organization() -> None:
    """The organization owns a record of its own log, the account every other record."""
    assert row_of(V2, organization={"id": ORGANIZATION})["owner_id"] == ORGANIZATION
    assert row_of(V2, account={"id": ACCOUNT}, organization={"id": ORGANIZATION})["owner_id"] == ACCOUNT
    assert row_of(V2, account={"id": ACCOUNT})["owner_id"] == row_of(V1, owner={"id": ACCOUNT})["owner_id"] == ACCOUNT


def test_organization_that_is_no_text_is_counted_once() -> None:
    """An organization's id of another type is one type mismatch, of the column that it would be in."""
    type_mismatches: Counter[str] = Counter()
    records = records_of(V2, raw_of(V2, "r-1", organization={"id": {}}))
    assert normalize(V2, records, lines_of(records), type_mismatches)["owner_id"] == [None]
    assert type_mismatches == {"owner_id": 1}


# -- outcome -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("outcome", "expected"), [("success", True), ("failure", False), ("", None)])
def test_outcome_is_the_same_in_both_versions(outcome: str, expected: bool | None) -> None:
    """Words of version 2 and booleans of version 1 mean the same; version 2's empty outcome is unknown, not odd."""
    row = row_of(V2, action={"time": "2026-11-01T00:00:00Z", "result": outcome})
    assert row["action_succeeded"] is expected
    assert row_of(V1, action={"result": expected})["action_succeeded"] is expected


# -- tokens ------------------------------------------------------------------------------------------------------------


def test_token_acted_upon_is_not_the_actors_token() -> None:
    """The token in version 1's metadata is the created one, and only version 2 has the actor's own."""
    metadata = {"token_name": "deploy", "token_tag": "t" * 32}
    row = row_of(V1, action={"type": "token_create", "result": True}, metadata=metadata)
    assert (row["actor_token_id"], row["actor_token_name"], json.loads(row["metadata"])) == (None, None, metadata)
    row = row_of(V2, actor={"token_id": "t", "token_name": "deploy"})
    assert (row["actor_token_id"], row["actor_token_name"]) == ("t", "deploy")


# -- broken text -------------------------------------------------------------------------------------------------------

TEXT_PATHS = [
    (version, column.name, path)
    for version in ApiVersion
    for column in COLUMNS[3:-1]
    if column.type is ColumnType.TEXT
    for path in column.path(version).split("|")
    if path and "[" not in path
]


@pytest.mark.parametrize(("version", "column", "path"), TEXT_PATHS, ids=str)
@pytest.mark.parametrize("half", [r"\ud800", r"\udfff", r"\uDBFF", r"\ude00\ud83d"])
def test_half_a_surrogate_pair_is_replaced_in_every_text_column(
    version: ApiVersion, column: str, path: str, half: str
) -> None:
    """Half a pair becomes U+FFFD in each text column of both versions, and never an ordinary character."""
    groups = path.split(".")
    value = '"a' + half + 'b"'
    for name in reversed(groups):
        value = '{"' + name + '":' + value + "}"
    time = '"when":"2026-11-01T00:00:00Z",' if version is V1 else ""
    raw = ('{"id":"r-1",' + time + value[1:]).encode()
    (row,) = json_rows("normalized", version, records_of(version, raw))
    assert row[column] == "a" + "\ufffd" * (len(half) // 6) + "b"
