"""OCSF events built from columns are the events that are built one by one, in every format."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import json as arrow_json

from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord, follow_previous, lines_of
from airflow_audit_provider.formats.arrow import ocsf_layout
from airflow_audit_provider.formats.normalized.columns import EVENT_ONLY, MINOR
from airflow_audit_provider.formats.options import OCSF_SCHEMAS
from airflow_audit_provider.formats.part_format import part_format
from airflow_audit_provider.formats.tables import NormalizedRows
from tests.formats.encoded import encode
from tests.formats.ocsf.any_records import raws
from tests.formats.ocsf.one_event import ocsf_event
from tests.formats.odd_records import V1, V2, odd_raws, raw_of, records_of
from tests.formats.rows_of import fake_records, json_rows, parquet_table
from tests.hypothesis_profiles import examples


def _one_by_one(
    version: ApiVersion, records: Sequence[AuditRecord], embed: Callable[[Any], Any], schema: str
) -> list[dict[str, Any]]:
    """Returns the events of records, each built by itself."""
    table = NormalizedRows(version, MINOR, EVENT_ONLY).plain_table(records, lines_of(records))
    rows = [dict(zip(table, values, strict=True)) for values in zip(*table.values(), strict=True)]
    times_ms = [record.event_ns // 1_000_000 for record in records]
    return [ocsf_event(row | {"event_ms": time_ms}, embed, schema) for row, time_ms in zip(rows, times_ms, strict=True)]


def _as_json(text: str) -> msgspec.Raw:
    return msgspec.Raw(text.encode().replace(b"\n", b" "))


def _check_events(version: ApiVersion, records: Sequence[AuditRecord], schema: str = "ocsf") -> None:
    """Asserts that parts hold the events that are built one by one: JSON Lines byte for byte, Parquet by value."""
    lines = msgspec.json.Encoder().encode_lines(_one_by_one(version, records, _as_json, schema))
    assert encode(part_format("jsonl", "none", schema), version, records) == lines
    texts = msgspec.json.Encoder().encode_lines(_one_by_one(version, records, str, schema))
    expected = arrow_json.read_json(
        io.BytesIO(texts),
        read_options=arrow_json.ReadOptions(block_size=len(texts) + 1),
        parse_options=arrow_json.ParseOptions(
            explicit_schema=ocsf_layout(schema).schema, unexpected_field_behavior="error"
        ),
    )
    assert parquet_table(schema, version, records).to_pylist() == expected.to_pylist()


@pytest.mark.parametrize("version", list(ApiVersion))
@examples(100)
@given(drawn=st.data(), schema=st.sampled_from(OCSF_SCHEMAS))
def test_events_from_columns_are_the_events_one_by_one(version: ApiVersion, drawn: st.DataObject, schema: str) -> None:
    """Rows of every class, with any attribute missing, stand side by side in one group."""
    _check_events(version, records_of(version, *drawn.draw(raws(version))), schema)


@pytest.mark.parametrize("version", list(ApiVersion))
def test_events_of_a_day_and_of_odd_records_are_the_events_one_by_one(version: ApiVersion) -> None:
    """The records that the fake sends, and records with an odd value in each field."""
    _check_events(version, fake_records(version, 300))
    odd = [record for raw in odd_raws(version).values() for record in records_of(version, raw)]
    _check_events(version, follow_previous(odd, None))


@pytest.mark.parametrize("file_format", ["jsonl", "parquet"])
@pytest.mark.parametrize(
    ("version", "resource"), [(V1, {"id": "x", "type": ""}), (V2, {"id": "x", "type": "", "product": ""})]
)
def test_empty_type_of_a_resource_names_no_service(
    file_format: str, version: ApiVersion, resource: dict[str, str]
) -> None:
    """The event has no service and no group, which have to be objects with a name."""
    records = records_of(version, raw_of(version, "a", resource=resource))
    rows = (
        json_rows("ocsf", version, records)
        if file_format == "jsonl"
        else parquet_table("ocsf", version, records).to_pylist()
    )
    (event,) = rows
    assert event["api"].get("service") is None
    (found,) = event["resources"]
    assert {name: value for name, value in found.items() if value is not None} == {"uid": "x", "type": ""}


def test_json_with_line_breaks_in_a_text_stays_on_one_line() -> None:
    """Version 1 has values as text, which may be indented JSON; a line of the part is one event."""
    records = records_of(V1, raw_of(V1, "a", oldValue='{\n "a": 1,\r\n "b": "x\\ny"}'))
    content = encode(part_format("jsonl", "none", "ocsf"), V1, records)
    assert content.count(b"\n") == 1
    assert b"\r" not in content
    assert json.loads(content)["unmapped"]["before"] == {"a": 1, "b": "x\ny"}
    choice = part_format("jsonl", "none", "ocsf")
    assert [record.raw for record in choice.read(V1, content)] == [record.raw for record in records]
