"""Records: raw bytes kept exactly, identity and event time found whatever else is odd."""

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
    """Read raw texts as one page's records."""
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
    """Text and numbers are ids as they stand."""
    assert [record.id for record in read(f'{{"id":{id_text},{_WHEN}}}')] == [record_id]


@pytest.mark.parametrize("id_part", ["", '"id":null,', '"id":"",'])
def test_a_record_without_an_id_is_known_by_its_bytes(id_part: str) -> None:
    """The digest of the record's bytes stands for a missing id."""
    raw = f"{{{id_part}{_WHEN}}}"
    assert read(raw)[0].id == f"sha256:{hashlib.sha256(raw.encode()).hexdigest()}"


def test_ids_that_are_half_a_character_stay_apart() -> None:
    """Two ids that a strict decoder reads as the same replacement are two records."""
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
def test_the_bytes_of_a_record_are_never_changed(raw: str) -> None:
    """Whatever a record holds, its bytes stay and it is placed in time."""
    assert read(raw) == [AuditRecord(1_000_000_000, "a", raw.encode())]


@pytest.mark.parametrize("raw", ODD.values(), ids=ODD)
def test_an_odd_record_does_not_change_its_neighbours(raw: str) -> None:
    """The records around an odd one are read as without it."""
    plain = f'{{"id":"p",{_WHEN}}}'
    assert [record.id for record in read(plain, raw, plain)] == ["p", "a", "p"]


def test_bytes_that_are_no_utf8_are_kept() -> None:
    """Invalid UTF-8 in a value stays as it came."""
    raw = f'{{"id":"a",{_WHEN},"n":"'.encode() + b'\xff\xfe"}'
    assert read(raw)[0].raw == raw


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_a_pretty_printed_record_becomes_one_line_and_means_the_same(line_end: str) -> None:
    """Line ends between values go, those inside text stay."""
    raw = json.dumps({"id": "a", "when": "1970-01-01T00:00:01Z", "n": "x\ny", "m": [1, 2]}, indent=2)
    (record,) = read(raw.replace("\n", line_end))
    assert b"\n" not in record.raw
    assert b"\r" not in record.raw
    assert json.loads(record.raw) == json.loads(raw)


def test_version_two_keeps_its_time_in_the_action() -> None:
    """Version 2's event time is ``action.time``, and ``when`` is no field of it."""
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
def test_a_record_that_cannot_be_placed_in_time_is_an_error(version: ApiVersion, raw: str) -> None:
    """A record without a readable time is neither dropped nor guessed, and the error shows it."""
    good = '{"id":"g","when":"1970-01-01T00:00:01Z","action":{"time":"1970-01-01T00:00:01Z"}}'
    with pytest.raises(SourceProtocolError) as caught:
        read(good, raw, version=version)
    assert raw in str(caught.value)
    assert not caught.value.retryable


def test_an_error_shows_no_more_than_the_start_of_a_record() -> None:
    """A long record is cut in the error's text."""
    with pytest.raises(SourceProtocolError) as caught:
        read(f'{{"id":"a","x":"{"y" * 5000}"}}')
    assert len(str(caught.value)) < 600


@examples(60)
@given(st.lists(st.sampled_from([b"\\ud83d", b"\\uDFFF", b"\\u0041", b"\\\\", b"\\n", b"x", b"\\ud7ff", b"\\ue000"])))
def test_softening_keeps_every_offset(pieces: list[bytes]) -> None:
    """The masked copy is as long as the original, and a strict decoder accepts it."""
    body = b'"' + b"".join(pieces) + b'"'
    assert len(mask_surrogates(body)) == len(body)
    msgspec.json.decode(mask_surrogates(body))


def test_fields_come_also_from_what_strict_decoders_refuse() -> None:
    """Half a pair and invalid UTF-8 are read as the standard library reads them."""
    assert fields_of(b'{"a":1}') == {"a": 1}
    assert fields_of(b'{"a":"\\ud83d"}') == {"a": "\ud83d"}


def test_records_sort_by_time_then_id() -> None:
    """The order of records is by event time, ties by id."""
    records = [AuditRecord(2, "a", b""), AuditRecord(1, "b", b""), AuditRecord(1, "a", b"")]
    assert [(record.event_ns, record.id) for record in in_order(records)] == [(1, "a"), (1, "b"), (2, "a")]


def test_only_records_of_the_window_are_inside() -> None:
    """The filter is half-open to the nanosecond and keeps the order."""
    window = TimeWindow(from_seconds(1), from_seconds(2))
    times = (1_999_999_999, 2_000_000_000, 999_999_999, 1_000_000_000)
    kept = inside([AuditRecord(time, "", b"") for time in times], window)
    assert [record.event_ns for record in kept] == [1_999_999_999, 1_000_000_000]


def test_a_record_is_none_of_the_garbage_collectors_work() -> None:
    """A record is not tracked: going through a pull's records again and again costs as much as decoding them."""
    assert not any(map(gc.is_tracked, read('{"id":"a","when":"1970-01-01T00:00:01Z"}')))


def test_lines_are_the_records_own_bytes() -> None:
    """Each is ended by a line feed; none are nothing."""
    first, second = '{"id":"a",' + _WHEN + "}", '{"id": "b",' + _WHEN + "}"
    assert lines_of(read(first, second)) == f"{first}\n{second}\n".encode()
    assert lines_of([]) == b""


@pytest.mark.parametrize("digits", [0, 6, 7, 9])
def test_a_page_keeps_times_of_every_grain(digits: int) -> None:
    """A page whose times are finer than microseconds is read as exactly as one whose are not."""
    fraction = "123456789"[:digits]
    when = f"2026-11-01T00:00:00.{fraction}Z" if digits else "2026-11-01T00:00:00Z"
    (record,) = read(f'{{"id":"a","when":"{when}"}}')
    assert record.event_ns == 1_793_491_200 * 10**9 + int(fraction.ljust(9, "0"))


def test_a_page_that_was_cut_into_other_entries_is_read_one_by_one() -> None:
    """If the response and its entries disagree, the entries decide."""
    raw = '{"id":"a",' + _WHEN + "}"
    (record,) = read_records(ApiVersion.V1, [msgspec.Raw(raw.encode())], b'{"result":[]}')
    assert record.raw == raw.encode()
