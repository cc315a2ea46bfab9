"""The normalized table: one set of columns for both versions, values where they belong, type mismatches counted."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_audit_provider.core.api.records import ApiVersion, lines_of
from airflow_audit_provider.core.warehouse.port import ColumnType
from airflow_audit_provider.formats.normalized import columns as normalized
from airflow_audit_provider.formats.normalized.columns import COLUMNS, TableColumn, columns_of
from airflow_audit_provider.formats.normalized.decode import normalize
from airflow_audit_provider.formats.part_format import part_format
from tests.formats.encoded import encode
from tests.formats.odd_records import V1, V2, VALUES, odd_raws, odd_records, raw_of, records_of
from tests.formats.rows_of import csv_rows, fake_records, json_rows, parquet_table
from tests.formats.sample_records import FIRST_V1, FIRST_V2

BOTH = pytest.mark.parametrize("version", [V1, V2])


def row_of(version: ApiVersion, raw: bytes | dict[str, Any]) -> dict[str, Any]:
    """Returns the one row of a record."""
    content = raw if isinstance(raw, bytes) else json.dumps(raw).encode()
    (row,) = json_rows("normalized", version, records_of(version, content))
    return row


def filled_cells(row: dict[str, Any]) -> dict[str, Any]:
    """Returns the cells of a row that are not null, without the record's own text."""
    return {name: value for name, value in row.items() if value is not None and name != "raw"}


@pytest.mark.parametrize("has_empty_line", [False, True], ids=["alone", "before an empty line"])
def test_odd_line_with_two_objects_shifts_no_column(has_empty_line: bool) -> None:
    """A line that is no single object has a row of its own, and the others keep their values."""
    raws = [raw_of(V1, name, action={"type": f"type {name}"}) for name in ("a", "b", "c", "d")]
    lines = [raws[0], raws[1] + raws[2], *([b""] if has_empty_line else []), raws[3]]
    records = [record for line in lines for record in records_of(V1, line)]
    mismatches: Counter[str] = Counter()
    table = normalize(V1, records, lines_of(records), mismatches)
    assert {len(values) for values in table.values()} == {len(lines)}
    for index, record in enumerate(records):
        alone = normalize(V1, [record], lines_of([record]), Counter())
        assert {name: values[index] for name, values in table.items()} == {name: one for name, (one,) in alone.items()}


def test_a_record_of_version_1_has_its_values_in_their_columns() -> None:
    """Numeric ids become digits, metadata has the zone, and values before and after are JSON."""
    assert filled_cells(row_of(V1, FIRST_V1)) == {
        "id": "a", "event_time": "2026-11-01T00:00:00.123456Z", "api_version": "v1", "actor_id": "u1",
        "actor_type": "user", "actor_email": "a@example.com", "actor_ip": "192.0.2.1", "interface": "UI",
        "action_type": "rec_set", "action_description": "by hand", "action_succeeded": True, "owner_id": "o1",
        "zone_id": "z1", "zone_name": "example.com", "resource_id": "10715065315", "resource_type": "DNS_record",
        "before": '{"ttl": 1.1}', "after": '"high"', "metadata": '{"zone_name": "example.com", "zone_id": "z1"}',
    }  # fmt: skip


def test_a_record_of_version_2_has_its_values_in_the_same_columns() -> None:
    """An outcome in words is a boolean, the account is the owner, and request and response are JSON."""
    assert filled_cells(row_of(V2, FIRST_V2)) == {
        "id": "a", "event_time": "2026-11-01T00:00:00.000000Z", "api_version": "v2", "actor_id": "u1",
        "actor_type": "user", "actor_email": "a@example.com", "actor_token_id": "t1", "actor_token_name": "deploy",
        "actor_ip": "192.0.2.1", "interface": "dash", "user_agent": "curl", "action_type": "update",
        "action_description": "Update record", "action_succeeded": False, "owner_id": "o1", "owner_name": "Example",
        "zone_id": "z1", "zone_name": "example.com", "resource_id": "d1", "resource_type": "record",
        "resource_product": "dns_records", "resource_scope": '"zones"', "request_method": "PATCH",
        "request_uri": "/zones/z1", "request_status": 403, "ray_id": "r1", "request_body": '{"ttl": 2}',
        "response_body": "[1]",
    }  # fmt: skip


@BOTH
def test_every_row_has_every_column_and_the_record_itself(version: ApiVersion) -> None:
    """The columns are the same for both versions, in one order, and the last one is the record."""
    records = [*fake_records(version, 300), *odd_records(version)]
    for row, record in zip(json_rows("normalized", version, records), records, strict=True):
        assert list(row) == [column.name for column in columns_of()]
        assert (row["id"], row["raw"].encode()) == (record.id, record.raw)


@BOTH
def test_values_have_their_columns_types(version: ApiVersion) -> None:
    """Text is text, JSON is JSON, and a required column is not null, whatever the record contains."""
    types: dict[ColumnType, Any] = {ColumnType.BOOLEAN: bool, ColumnType.INTEGER: int}
    for row in json_rows("normalized", version, odd_records(version)):
        for column in COLUMNS:
            value = row[column.name]
            assert value is not None or column.nullable
            assert value is None or type(value) is types.get(column.type, str)
            if value is not None and column.type is ColumnType.JSON:
                json.loads(value)


@pytest.mark.integration
@BOTH
def test_three_formats_have_the_same_cells(version: ApiVersion) -> None:
    """JSON Lines, typed Parquet and the text of CSV have the same values, where CSV is empty for null."""
    records = [*fake_records(version, 200), *odd_records(version)]
    table = parquet_table("normalized", version, records).to_pylist()
    lines = json_rows("normalized", version, records)
    for line, cells, row in zip(lines, csv_rows(version, records), table, strict=True):
        shown = {name: "" if value is None else str(value) for name, value in line.items()}
        shown["action_succeeded"] = shown["action_succeeded"].lower()
        assert cells == shown
        row["event_time"] = f"{row['event_time']:%Y-%m-%dT%H:%M:%S.%fZ}"
        assert row == line


@pytest.mark.parametrize("name", VALUES)
def test_invalid_outcome_is_counted(name: str) -> None:
    """Only true, false and their two words are outcomes; null and an empty text are no type mismatch."""
    type_mismatches: Counter[str] = Counter()
    records = records_of(V1, odd_raws(V1)[f"action.result {name}"])
    table = normalize(V1, records, lines_of(records), type_mismatches)
    assert table["action_succeeded"] == [True if name == "true" else None]
    assert type_mismatches == ({} if name in ("true", "null", "empty") else {"action_succeeded": 1})


@pytest.mark.parametrize("name", VALUES)
def test_invalid_status_is_counted(name: str) -> None:
    """A status that is no whole number of 64 bits is a type mismatch."""
    whole = {"number": 17, "minus": -17, "largest": 2**63 - 1, "smallest": -(2**63)}
    type_mismatches: Counter[str] = Counter()
    records = records_of(V2, odd_raws(V2)[f"raw.status_code {name}"])
    assert normalize(V2, records, lines_of(records), type_mismatches)["request_status"] == [whole.get(name)]
    assert type_mismatches == ({} if name in whole or name == "null" else {"request_status": 1})


TEXTS = {
    "null": None, "true": "true", "number": "17", "fraction": "1.10", "empty": "", "null as text": "null",
    "huge": "123456789012345678901234567890", "half": "cut \ufffd", "object": None, "list": None, "accents": "Zoë 😀",
}  # fmt: skip


@pytest.mark.parametrize(("name", "expected"), TEXTS.items())
def test_text_takes_single_values_and_counts_objects(name: str, expected: str | None) -> None:
    """A number or a boolean becomes its text; an object or a list is a type mismatch."""
    type_mismatches: Counter[str] = Counter()
    records = records_of(V1, odd_raws(V1)[f"actor.email {name}"])
    assert normalize(V1, records, lines_of(records), type_mismatches)["actor_email"][0] == expected
    assert type_mismatches == ({"actor_email": 1} if name in ("object", "list") else {})


VALUES_AFTER = {
    '"null"': None, '""': None, "null": None, '"high"': '"high"', '"{\\"a\\": 1.10}"': '{"a": 1.10}', '"[1]"': "[1]",
    '"{cut"': '"{cut"', '"true"': '"true"', "17": "17", '{"a":1}': '{"a":1}',
}  # fmt: skip


@pytest.mark.parametrize(("value", "expected"), VALUES_AFTER.items())
def test_value_after_is_always_json(value: str, expected: str | None) -> None:
    """JSON in text is that JSON, other text is a JSON text, and "null" is null."""
    raw = b'{"id":"a","when":"2026-11-01T00:00:00Z","newValue":%s}' % value.encode()
    assert row_of(V1, raw)["after"] == expected
    assert row_of(V1, raw.replace(b'"id"', b'"newValueJson":[],"id"'))["after"] == (expected or "[]")
    assert row_of(V1, raw.replace(b'"id"', b'"newValueJson":[0],"id"'))["after"] == "[0]"


def test_a_group_that_is_no_object_is_counted_in_each_of_its_columns() -> None:
    """A group of another type is a type mismatch in each of its columns, except for metadata."""
    type_mismatches: Counter[str] = Counter()
    records = records_of(V1, raw_of(V1, "a", actor="system"), raw_of(V1, "b", metadata="x"), raw_of(V1, "c"))
    table = normalize(V1, records, lines_of(records), type_mismatches)
    assert type_mismatches == dict.fromkeys(["actor_id", "actor_type", "actor_email", "actor_ip"], 1)
    assert table["metadata"] == [None, '"x"', None]


@pytest.mark.integration
@BOTH
def test_a_neighbour_does_not_change_a_row(version: ApiVersion) -> None:
    """A record has the same row alone, among plain records and among odd ones."""
    plain, odd = fake_records(version, 7), odd_records(version)
    mixed = [*odd[:50], *plain, *odd[50:]]
    rows = json_rows("normalized", version, mixed)
    assert rows[50:57] == json_rows("normalized", version, plain)
    assert rows == [row for record in mixed for row in json_rows("normalized", version, [record])]


@pytest.mark.integration
@BOTH
def test_encoder_counts_type_mismatches(version: ApiVersion) -> None:
    """Every format counts the same type mismatches, and none for plain records."""
    counts = []
    for file_format in ("jsonl", "csv", "parquet"):
        encoder = part_format(file_format, None, "normalized").open_encoder(version)
        encoder.encode(fake_records(version, 100), lines_of(fake_records(version, 100)))
        assert not encoder.type_mismatches
        encoder.encode(odd_records(version), lines_of(odd_records(version)))
        counts.append(dict(encoder.type_mismatches))
    assert counts[0] == counts[1] == counts[2]
    assert counts[0]["actor_email"] > 20


@BOTH
def test_column_is_read_from_its_documented_path(version: ApiVersion) -> None:
    """A value at a column's path is in that column and in no other."""
    values: dict[ColumnType, Any] = {ColumnType.BOOLEAN: True, ColumnType.INTEGER: 7, ColumnType.JSON: {"x": 1}}
    for column in COLUMNS[3:-1]:
        for path in filter(None, column.path(version).split("|")):
            if path == "resource[zone].id":
                continue
            value = values.get(column.type, "some text")
            fields: Any = value if path not in ("oldValue", "newValue") else "some text"
            for name in reversed(path.split(".")):
                fields = {name: fields}
            raw = json.loads(raw_of(version, "a"))
            raw = {
                **raw,
                **fields,
                **({"action": {**raw["action"], **fields["action"]}} if "action" in raw and "action" in fields else {}),
            }
            filled = filled_cells(row_of(version, raw)).keys() - {"id", "event_time", "api_version"}
            assert filled - ({"metadata"} if path.startswith("metadata.") else set()) == {column.name}


def test_columns_of_version_1_0_stay() -> None:
    """The columns of 1.0 are unique, and a minor version renames, retypes or removes none."""
    assert [f"{column.name}:{column.type}" for column in columns_of(0)] == (
        "id:text event_time:timestamp api_version:text actor_id:text actor_type:text actor_email:text "
        "actor_token_id:text actor_token_name:text actor_ip:text interface:text user_agent:text action_type:text "
        "action_description:text action_succeeded:boolean owner_id:text owner_name:text zone_id:text zone_name:text "
        "resource_id:text resource_type:text resource_product:text resource_scope:json request_method:text "
        "request_uri:text request_status:integer ray_id:text request_body:json response_body:json before:json "
        "after:json metadata:json raw:text"
    ).split()
    assert (normalized.MAJOR, max(column.since for column in COLUMNS)) == (1, normalized.MINOR)


def test_a_later_column_comes_before_the_record() -> None:
    """A minor version has the columns of the one before, then its own, and the record last."""
    later = TableColumn("later", ColumnType.TEXT, "x.later", "x.later", "one of tomorrow", since=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(normalized, "COLUMNS", (*COLUMNS, later))
        names = [column.name for column in columns_of(1)]
        assert [column.name for column in columns_of(0)] == [column.name for column in COLUMNS]
    assert names == [*(column.name for column in COLUMNS[:-1]), "later", "raw"]


def test_times_before_1970_are_cut_and_never_rounded_up() -> None:
    """A nanosecond before the epoch is in the microsecond before it."""
    (row,) = parquet_table(
        "normalized", V1, records_of(V1, b'{"id":"a","when":"1969-12-31T23:59:59.999999999Z"}')
    ).to_pylist()
    assert row["event_time"] == datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)


@pytest.mark.integration
@BOTH
def test_an_empty_part_has_its_header(version: ApiVersion) -> None:
    """An empty CSV part has its header, an empty Parquet part its schema."""
    assert encode(part_format("csv", "none", "normalized"), version).decode().split(",")[0] == "id"
    assert parquet_table("normalized", version, []).schema == parquet_table("normalized", V1, odd_records(V1)).schema
