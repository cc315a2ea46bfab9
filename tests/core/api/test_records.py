"""Records: raw bytes stay unchanged, and id and event time are found whatever else is odd."""

from __future__ import annotations

import gc
import hashlib
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_audit_provider.core.api.records import (
    ApiVersion,
    AuditRecord,
    fields_of,
    in_order,
    inside,
    lines_of,
    mask_surrogates,
    read_records,
)
from airflow_audit_provider.core.windows.window import TimeWindow, from_seconds
from airflow_audit_provider.exceptions import SourceProtocolError
from tests.hypothesis_profiles import examples

_WHEN = '"when":"1970-01-01T00:00:01Z"'


def read(*raws: str | bytes, version: ApiVersion = ApiVersion.V1) -> list[AuditRecord]:
    """Returns the records of one page with these raw texts."""
    return read_records(version, [msgspec.Raw(raw.encode() if isinstance(raw, str) else raw) for raw in raws])


@pytest.mark.parametrize(
    ("id_text", "record_id"),
    [
        ('"f123"', "f123"),
        ("17", "17"),
        ('"10715065315"', "10715065315"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ('"Zoë"', "Zoë"),
        ('"\\u0041"', "A"),
    ],
)
def test_an_id_is_kept_as_text(id_text: str, record_id: str) -> None:
    """Text and numbers are ids as they are written."""
    assert [record.id for record in read(f'{{"id":{id_text},{_WHEN}}}')] == [record_id]


@pytest.mark.parametrize("id_part", ["", '"id":null,', '"id":"",'])
def test_missing_id_is_the_digest_of_the_bytes(id_part: str) -> None:
    """The digest of the record's bytes replaces a missing id."""
    raw = f"{{{id_part}{_WHEN}}}"
    assert read(raw)[0].id == f"sha256:{hashlib.sha256(raw.encode()).hexdigest()}"


def test_ids_with_half_a_surrogate_pair_stay_different() -> None:
    """Two ids that a strict decoder replaces by the same character are two records."""
    first, second = read(*(f'{{"id":"\\ud83{digit}",{_WHEN}}}' for digit in "de"))
    assert first.id != second.id
    assert first.id.startswith("sha256:")


ODD = {
    "unknown fields": f'{{"id":"a",{_WHEN},"new":{{"deep":[1,null,"x"]}}}}',
    "odd action": f'{{"id":"a",{_WHEN},"action":"text"}}',
    "odd values": f'{{"id":"a",{_WHEN},"newValue":"null","oldValue":"","interface":"","actor":{{"type":"system"}}}}',
    "spaces": f'{{ "id" : "a" ,\t{_WHEN} }}',
    "half a surrogate pair": f'{{"id":"a",{_WHEN},"n":"\\ud83d"}}',
    "the other half": f'{{"id":"a",{_WHEN},"n":"\\uDE00 \\uDBFF"}}',
    "a whole pair": f'{{"id":"a",{_WHEN},"n":"\\ud83d\\ude00"}}',
    "an escaped backslash": f'{{"id":"a",{_WHEN},"n":"\\\\ud83d"}}',
    "line separators": f'{{"id":"a",{_WHEN},"n":"\u2028\u0085\\n\\r"}}',
    "numbers": f'{{"id":"a",{_WHEN},"n":[1e400,-0.0,1.10,9999999999999999999999]}}',
    "an id twice": f'{{"id":"b","id":"a",{_WHEN}}}',
}


@pytest.mark.parametrize("raw", ODD.values(), ids=ODD)
def test_bytes_of_an_odd_record_stay_unchanged(raw: str) -> None:
    """Whatever a record contains, its bytes stay unchanged and its event time is found."""
    assert read(raw) == [AuditRecord(1_000_000_000, "a", raw.encode())]


@pytest.mark.parametrize("raw", ODD.values(), ids=ODD)
def test_an_odd_record_does_not_change_its_neighbours(raw: str) -> None:
    """The records before and after an odd one are read as without it."""
    plain = f'{{"id":"p",{_WHEN}}}'
    assert [record.id for record in read(plain, raw, plain)] == ["p", "a", "p"]


def test_bytes_that_are_no_utf8_are_kept() -> None:
    """Invalid UTF-8 in a value stays unchanged."""
    raw = f'{{"id":"a",{_WHEN},"n":"'.encode() + b'\xff\xfe"}'
    assert read(raw)[0].raw == raw


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_pretty_printed_record_becomes_one_line(line_end: str) -> None:
    """Line ends between values are removed, those inside text stay."""
    raw = json.dumps({"id": "a", "when": "1970-01-01T00:00:01Z", "n": "x\ny", "m": [1, 2]}, indent=2)
    (record,) = read(raw.replace("\n", line_end))
    assert b"\n" not in record.raw
    assert b"\r" not in record.raw
    assert json.loads(record.raw) == json.loads(raw)


def test_event_time_of_version_two_is_in_the_action() -> None:
    """The event time of version 2 is ``action.time``; ``when`` is ignored."""
    raw = '{"id":"a","when":"2020-01-01T00:00:00Z","action":{"time":"1970-01-01T00:00:01.5Z","type":"create"}}'
    assert read(raw, version=ApiVersion.V2) == [AuditRecord(1_500_000_000, "a", raw.encode())]


UNREADABLE = [
    (ApiVersion.V1, '{"id":"a"}'),
    (ApiVersion.V1, '{"id":"a","when":null}'),
    (ApiVersion.V1, '{"id":"a","when":""}'),
    (ApiVersion.V1, '{"id":"a","when":"yesterday"}'),
    (ApiVersion.V1, '{"id":"a","when":12}'),
    (ApiVersion.V1, '{"id":1.5,"when":"1970-01-01T00:00:01Z"}'),
    (ApiVersion.V1, '{"id":{},"when":"1970-01-01T00:00:01Z"}'),
    (ApiVersion.V1, '{"id":"a","action":{"time":"1970-01-01T00:00:01Z"}}'),
    (ApiVersion.V1, "null"),
    (ApiVersion.V1, "[]"),
    (ApiVersion.V2, '{"id":"a","when":"1970-01-01T00:00:01Z"}'),
    (ApiVersion.V2, '{"id":"a","action":null}'),
    (ApiVersion.V2, '{"id":"a","action":{}}'),
    (ApiVersion.V2, '{"id":"a","action":"create"}'),
]


@pytest.mark.parametrize(("version", "raw"), UNREADABLE)
def test_record_without_a_readable_time_is_an_error(version: ApiVersion, raw: str) -> None:
    """A record without a readable time is an error that shows the record."""
    good = '{"id":"g","when":"1970-01-01T00:00:01Z","action":{"time":"1970-01-01T00:00:01Z"}}'
    with pytest.raises(SourceProtocolError) as caught:
        read(good, raw, version=version)
    assert raw in str(caught.value)
    assert not caught.value.retryable


def test_an_error_shows_no_more_than_the_start_of_a_record() -> None:
    """A long record is truncated in the text of the error."""
    with pytest.raises(SourceProtocolError) as caught:
        read(f'{{"id":"a","x":"{"y" * 5000}"}}')
    assert len(str(caught.value)) < 600


@examples(60)
@given(st.lists(st.sampled_from([b"\\ud83d", b"\\uDFFF", b"\\u0041", b"\\\\", b"\\n", b"x", b"\\ud7ff", b"\\ue000"])))
def test_masking_keeps_every_offset(pieces: list[bytes]) -> None:
    """The masked copy is as long as the original, and a strict decoder accepts it."""
    body = b'"' + b"".join(pieces) + b'"'
    assert len(mask_surrogates(body)) == len(body)
    msgspec.json.decode(mask_surrogates(body))


def test_fields_are_read_from_text_that_strict_decoders_reject() -> None:
    """Half a surrogate pair and invalid UTF-8 are read as the standard library reads them."""
    assert fields_of(b'{"a":1}') == {"a": 1}
    assert fields_of(b'{"a":"\\ud83d"}') == {"a": "\ud83d"}


def test_records_sort_by_time_then_id() -> None:
    """Records are sorted by event time, ties by id."""
    records = [AuditRecord(2, "a", b""), AuditRecord(1, "b", b""), AuditRecord(1, "a", b"")]
    assert [(record.event_ns, record.id) for record in in_order(records)] == [(1, "a"), (1, "b"), (2, "a")]


def test_only_records_of_the_window_are_inside() -> None:
    """The filter is half-open to the nanosecond and keeps the order."""
    window = TimeWindow(from_seconds(1), from_seconds(2))
    times = (1_999_999_999, 2_000_000_000, 999_999_999, 1_000_000_000)
    kept = inside([AuditRecord(time, "", b"") for time in times], window)
    assert [record.event_ns for record in kept] == [1_999_999_999, 1_000_000_000]


def test_record_is_not_tracked_by_the_garbage_collector() -> None:
    """A record is not tracked, because repeated collections of all records would be as slow as decoding."""
    assert not any(map(gc.is_tracked, read('{"id":"a","when":"1970-01-01T00:00:01Z"}')))


def test_lines_are_the_bytes_of_the_records() -> None:
    """Each record is ended by a line feed; no records give no bytes."""
    first, second = '{"id":"a",' + _WHEN + "}", '{"id": "b",' + _WHEN + "}"
    assert lines_of(read(first, second)) == f"{first}\n{second}\n".encode()
    assert lines_of([]) == b""


@pytest.mark.parametrize("digits", [0, 6, 7, 9])
def test_page_with_nanosecond_times_is_exact(digits: int) -> None:
    """A page with times finer than microseconds is read as exactly as any other."""
    fraction = "123456789"[:digits]
    when = f"2026-11-01T00:00:00.{fraction}Z" if digits else "2026-11-01T00:00:00Z"
    (record,) = read(f'{{"id":"a","when":"{when}"}}')
    assert record.event_ns == 1_793_491_200 * 10**9 + int(fraction.ljust(9, "0"))


def test_entries_that_differ_from_the_response_are_read_one_by_one() -> None:
    """If the response and its entries disagree, the entries apply."""
    raw = '{"id":"a",' + _WHEN + "}"
    (record,) = read_records(ApiVersion.V1, [msgspec.Raw(raw.encode())], b'{"result":[]}')
    assert record.raw == raw.encode()
