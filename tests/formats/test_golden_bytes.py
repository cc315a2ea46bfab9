"""The bytes of parts, on which external readers depend."""

from __future__ import annotations

import hashlib

import pytest

from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.formats.part_format import part_format
from tests.formats.encoded import encode
from tests.formats.odd_records import V1, V2, records_of
from tests.formats.sample_records import RECORD_V1, RECORD_V2

HEADER = b"id,event_time,record\r\n"


def quoted(text: bytes) -> bytes:
    """Returns a CSV cell in quotes."""
    return b'"' + text.replace(b'"', b'""') + b'"'


CSV_V1 = HEADER + b"f1,2024-03-15T14:32:10.875730000Z," + quoted(RECORD_V1) + b"\r\n"
CSV_V2 = HEADER + b"f2,2026-11-01T00:00:00.000000000Z," + quoted(RECORD_V2) + b"\r\n"


def test_json_lines_are_the_records_and_line_feeds() -> None:
    """A part in JSON Lines has the bytes of the API, each record ended by a line feed."""
    content = encode(part_format("jsonl", "none"), V1, records_of(V1, RECORD_V1, RECORD_V1))
    assert content == (RECORD_V1 + b"\n") * 2


@pytest.mark.parametrize(("version", "raw", "expected"), [(V1, RECORD_V1, CSV_V1), (V2, RECORD_V2, CSV_V2)])
def test_csv_has_the_golden_bytes(version: ApiVersion, raw: bytes, expected: bytes) -> None:
    """Header, cells, quotes and line ends of CSV are exactly these."""
    assert encode(part_format("csv", "none"), version, records_of(version, raw)) == expected


@pytest.mark.parametrize("version", [V1, V2])
def test_an_empty_table_is_its_header(version: ApiVersion) -> None:
    """The header is written once, with or without records, in any pieces."""
    choice = part_format("csv", "none")
    assert encode(choice, version) == HEADER
    assert encode(choice, version, [], []) == HEADER


def test_gzip_has_no_time_and_no_name() -> None:
    """The header of a gzip stream has ten bytes, no flags and a time of zero."""
    content = encode(part_format("jsonl", "gzip"), V1, records_of(V1, RECORD_V1))
    assert content[:3] == b"\x1f\x8b\x08"
    assert content[3] == 0
    assert content[4:8] == bytes(4)


def test_a_parquet_part_of_the_same_records_is_the_same_file() -> None:
    """A Parquet file has no time of writing; its digest depends only on records and library."""
    records = records_of(V1, RECORD_V1)
    digests = {hashlib.sha256(encode(part_format("parquet"), V1, records)).hexdigest() for _ in range(2)}
    assert len(digests) == 1
    content = encode(part_format("parquet", "none"), V1, records)
    assert content[:4] == content[-4:] == b"PAR1"
    assert RECORD_V1 in content
