"""Values that no column can hold never fail a part."""

from __future__ import annotations

import msgspec
import pytest

from airflow_audit_provider.core.api.records import ApiVersion, lines_of, read_records
from airflow_audit_provider.formats.part_format import part_format

FIELDS = [
    b'"actor":{"email":"\xff"}',
    b'"metadata":"\xff"',
    b'"actor":{"email":7,"type":"\xff"}',
    b'"actor":7,"\xff":1',
    b'"raw":{"status_code":' + b"1" * 5000 + b"}",
    b'"n":"\\ud83d","zone":{"id":' + b"1" * 5000 + b"}",
    b'"actor":{"email":"' + b"x" * 100 + b'\xff"},"metadata":{"a":[1,2,{"b":null}]}',
]


@pytest.mark.parametrize("version", list(ApiVersion))
@pytest.mark.parametrize("file_format", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("field", FIELDS, ids=range(len(FIELDS)))
def test_invalid_value_is_encoded(file_format: str, field: bytes, version: ApiVersion) -> None:
    """Invalid UTF-8 and infinite numbers fail no format: the part is written and read back."""
    time = b'"when":"2026-11-01T00:00:00Z","action":{"time":"2026-11-01T00:00:00Z"},'
    records = read_records(version, [msgspec.Raw(b'{"id":"a",' + time + field + b"}")])
    choice = part_format(file_format)
    encoder = choice.open_encoder(version)
    content = encoder.encode(records, lines_of(records)) + encoder.finish()
    assert [record.id for record in choice.read(version, content)] == ["a"]
