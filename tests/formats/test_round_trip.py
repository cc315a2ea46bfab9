"""Every format and compression gives back the same records, byte for byte."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.formats.part_format import PartFormat, part_format
from tests.formats.encoded import encode
from tests.formats.odd_records import V1, odd_records, raw_of, records_of
from tests.hypothesis_profiles import examples

RAW_CHOICES = [
    part_format(file_format, compression)
    for file_format in ("jsonl", "csv", "parquet")
    for compression in ("gzip", "zstd", "none")
]
SCHEMA_CHOICES = [
    part_format("jsonl", "gzip", "normalized"),
    part_format("jsonl", "none", "ocsf"),
    part_format("csv", "zstd", "normalized"),
    part_format("parquet", "zstd", "normalized"),
    part_format("parquet", "none", "ocsf"),
]
CHOICES = RAW_CHOICES + SCHEMA_CHOICES
NAMES = [f"{choice.file_format}-{choice.compression}-{choice.schema}" for choice in CHOICES]
pytestmark = pytest.mark.parametrize("choice", CHOICES, ids=NAMES)


@pytest.mark.parametrize("version", list(ApiVersion))
def test_odd_records_are_read_back_unchanged(choice: PartFormat, version: ApiVersion) -> None:
    """Bytes, ids, times and order of odd records stay the same."""
    records = odd_records(version)
    assert list(choice.read(version, encode(choice, version, records))) == records


def test_odd_line_with_two_objects_is_one_record(choice: PartFormat) -> None:
    """A page in which a comma is missing changes no other record: each row has the columns of its own record."""
    raws = [raw_of(V1, name, action={"type": f"type {name}"}) for name in ("a", "b", "c", "d")]
    spliced = [raws[0], raws[1] + raws[2], raws[3]]
    records = [record for raw in spliced for record in records_of(V1, raw)]
    content = encode(choice, V1, records)
    assert list(choice.read(V1, content)) == records
    (alone,) = choice.read(V1, encode(choice, V1, records[2:]))
    assert list(choice.read(V1, content))[2] == alone


@pytest.mark.parametrize("version", list(ApiVersion))
def test_an_empty_part_is_a_whole_file(choice: PartFormat, version: ApiVersion) -> None:
    """A part without records can be read and has none."""
    for content in (encode(choice, version), encode(choice, version, []), encode(choice, version, [], [])):
        assert list(choice.read(version, content)) == []


def test_the_same_records_are_the_same_bytes(choice: PartFormat) -> None:
    """Encoding twice gives the same bytes."""
    records = odd_records(V1)
    assert encode(choice, V1, records) == encode(choice, V1, records)


@examples(5)
@given(cuts=st.lists(st.integers(0, 40), max_size=4))
def test_pieces_do_not_change_the_content(choice: PartFormat, cuts: list[int]) -> None:
    """The content is the same in whatever pieces the encoder gets the records."""
    records = odd_records(V1)[:40]
    borders = [0, *sorted(cuts), len(records)]
    pieces = [records[first:last] for first, last in pairwise(borders)]
    assert list(choice.read(V1, encode(choice, V1, *pieces))) == records


@pytest.mark.integration
def test_many_records_are_read_back_in_order(choice: PartFormat) -> None:
    """More records than a row group has stay in order."""
    raw = raw_of(V1, "x")
    records = records_of(V1, *(raw.replace(b'"x"', b'"%06d"' % number) for number in range(10_050)))
    content = encode(choice, V1, records[:7000], records[7000:])
    assert list(choice.read(V1, content)) == records


def test_bytes_that_are_no_utf8_do_not_fail(choice: PartFormat) -> None:
    """JSON Lines keep invalid UTF-8, and other formats have a replacement character."""
    raw = b'{"id":"a","when":"2026-11-01T00:00:00Z","unknown":"\xff\xfe"}'
    (record,) = choice.read(V1, encode(choice, V1, records_of(V1, raw)))
    assert record.id == "a"
    keeps_bytes = (choice.file_format, choice.schema) == ("jsonl", "raw")
    kept = raw if keeps_bytes else raw.decode("utf-8", "replace").encode()
    assert record.raw == kept
