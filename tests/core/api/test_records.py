"""Records: raw bytes stay unchanged, and id and event time are found whatever else is odd."""

from __future__ import annotations

import gc
import hashlib
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_audit_provider.core.api.json_cuts import mask_surrogates
from airflow_audit_provider.core.api.odd_heads import OddKind
from airflow_audit_provider.core.api.records import (
    ApiVersion,
    AuditRecord,
    OddRecord,
    fields_of,
    in_order,
    inside,
    is_same_record,
    is_undated,
    lines_of,
    read_records,
)
from airflow_audit_provider.core.windows.window import TimeWindow, from_seconds
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


_PIECES = [
    *(f'{{"id":"{name}",{_WHEN}}}' for name in "abc"),
    f'{{"id":"a",{_WHEN}}},{{"id":"b",{_WHEN}}}',
    f'{{"id":"c",{_WHEN},"x":[1',
    "2]}",
    *("[", "]", "{", "}", ",", '"', "", "null", "7", "\n", "]\n["),
]


@examples(200)
@given(st.lists(st.lists(st.sampled_from(_PIECES), min_size=1, max_size=3).map("".join), max_size=4))
def test_each_line_is_read_as_it_is_alone(lines: list[str]) -> None:
    """Lines that are no records never become records together, and none gets the id of another."""
    assert read(*lines) == [record for line in lines for record in read(line)]


def test_objects_that_share_lines_are_odd() -> None:
    """Two objects on one line, and one on two lines, are as many as the lines, but no line is a record."""
    records = read(*_PIECES[3:6])
    assert all(isinstance(record, OddRecord) for record in records)
    assert records == [record for line in _PIECES[3:6] for record in read(line)]


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


ODD_KINDS = [
    (ApiVersion.V1, '{"id":"a"}', "time"),
    (ApiVersion.V1, '{"id":"a","when":null}', "time"),
    (ApiVersion.V1, '{"id":"a","when":""}', "time"),
    (ApiVersion.V1, '{"id":"a","when":"yesterday"}', "time"),
    (ApiVersion.V1, '{"id":"a","when":12}', "time"),
    (ApiVersion.V1, '{"id":"a","when":"1970-01-01T00:00:00Z"}', "time"),
    (ApiVersion.V1, '{"id":"a","when":"0001-01-01T00:00:00.000000000Z"}', "time"),
    (ApiVersion.V1, '{"id":"a","when":"2026-11-01T00:00:00"}', "time"),
    (ApiVersion.V1, f'{{"id":1.5,{_WHEN}}}', "id"),
    (ApiVersion.V1, f'{{"id":{{}},{_WHEN}}}', "id"),
    (ApiVersion.V1, f'{{"id":true,{_WHEN}}}', "id"),
    (ApiVersion.V1, f'{{"id":{"1" * 5000},{_WHEN}}}', "id"),
    (ApiVersion.V1, '{"id":"a","action":{"time":"1970-01-01T00:00:01Z"}}', "time"),
    (ApiVersion.V1, "null", "not_an_object"),
    (ApiVersion.V1, "[]", "not_an_object"),
    (ApiVersion.V1, f'{{"id":"a",{_WHEN},"x":NaN}}', "not_json"),
    (ApiVersion.V1, f'{{"id":"a",{_WHEN},"x":"\x01"}}', "not_json"),
    (ApiVersion.V1, f'{{"id":"a",{_WHEN},"x":}}', "not_json"),
    (ApiVersion.V1, f'{{"id":"a",{_WHEN},"x":{"[" * 5000}{"]" * 5000}}}', "too_deep"),
    (ApiVersion.V2, '{"id":"a","when":"1970-01-01T00:00:01Z"}', "time"),
    (ApiVersion.V2, '{"id":"a","action":null}', "time"),
    (ApiVersion.V2, '{"id":"a","action":{}}', "time"),
    (ApiVersion.V2, '{"id":"a","action":"create"}', "time"),
]


@pytest.mark.parametrize(("version", "raw", "kind"), ODD_KINDS, ids=range(len(ODD_KINDS)))
def test_a_record_that_breaks_the_contract_is_kept_with_its_kind(version: ApiVersion, raw: str, kind: str) -> None:
    """Its bytes stay, what can be read of its id and time is read, and its neighbours are read as without it."""
    good = '{"id":"g","when":"1970-01-01T00:00:01Z","action":{"time":"1970-01-01T00:00:01Z"}}'
    before, odd, after = read(good, raw, good, version=version)
    assert (before.id, before.event_ns) == (after.id, after.event_ns) == ("g", 1_000_000_000)
    assert isinstance(odd, OddRecord)
    assert (odd.raw, odd.kind) == (raw.encode(), kind)
    assert odd.id == "a" or kind in ("id", "not_an_object")
    assert is_undated(odd) is (kind in ("time", "not_an_object"))
    assert odd.event_ns == (0 if is_undated(odd) else 1_000_000_000)


def test_a_raw_line_break_in_a_string_becomes_its_escape() -> None:
    """The record stays on one line, is counted as odd, and its identity is that of the line that lands."""
    (odd,) = read(b'{"when":"1970-01-01T00:00:01Z",\n"n":"a\r\nb"}')
    assert isinstance(odd, OddRecord)
    assert (odd.raw, odd.kind) == (b'{"when":"1970-01-01T00:00:01Z", "n":"a\\r\\nb"}', "not_json")
    assert read(odd.raw)[0].id == odd.id


def test_an_undated_record_sorts_behind_the_dated_ones_of_its_instant() -> None:
    """Sorts an undated record behind the dated ones of its instant."""
    undated, later = OddRecord(5, "a", b"", OddKind.TIME), AuditRecord(6, "a", b"")
    dated = [OddRecord(5, "b", b"", OddKind.ID), AuditRecord(5, "c", b"")]
    for records in ([undated, later, *dated], [*dated[::-1], later, undated]):
        assert in_order(records) == [*dated, undated, later]


def test_a_time_that_was_given_does_not_tell_records_apart() -> None:
    """Equal bytes without a time are one record wherever pages show it; equal bytes with two times are two."""
    one, other = OddRecord(5, "a", b"null", OddKind.TIME), OddRecord(9, "a", b"null", OddKind.TIME)
    assert is_same_record(one, other)
    assert not is_same_record(AuditRecord(5, "a", b"{}"), AuditRecord(9, "a", b"{}"))
    assert not is_same_record(one, OddRecord(9, "a", b"17", OddKind.TIME))


@pytest.mark.integration
def test_records_that_are_nested_too_deep_are_compared_by_their_bytes() -> None:
    """No comparison and no reading of fields recurses."""
    deep = b'{"id":"a","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    assert is_same_record(AuditRecord(1, "a", deep), AuditRecord(1, "a", bytes(bytearray(deep))))
    assert not is_same_record(AuditRecord(1, "a", deep), AuditRecord(1, "a", deep.replace(b'"x"', b'"y"')))
    assert fields_of(deep)["id"] == "a"
    assert fields_of(b"[" * 100_000 + b"]" * 100_000).startswith("[[")


@examples(60)
@given(st.lists(st.sampled_from([b"\\ud83d", b"\\uDFFF", b"\\u0041", b"\\\\", b"\\n", b"x", b"\\ud7ff", b"\\ue000"])))
def test_masking_keeps_every_offset(pieces: list[bytes]) -> None:
    """The masked copy is as long as the original, and a strict decoder accepts it."""
    body = b'"' + b"".join(pieces) + b'"'
    assert len(mask_surrogates(body)) == len(body)
    msgspec.json.decode(mask_surrogates(body))


@pytest.mark.parametrize("body", [rb'"\\ud83d"', rb'"\\\\ud83d"', rb'"\\\nud83d"', rb'"\ud7ff"'])
def test_masking_keeps_what_is_no_surrogate_escape(body: bytes) -> None:
    """A backslash that is escaped itself starts no escape, so the text behind it stays."""
    assert mask_surrogates(body) == body


def test_id_with_an_escaped_backslash_is_kept_beside_half_a_pair() -> None:
    """Half a surrogate pair in one field does not change another field."""
    (record,) = read(f'{{"id":"x\\\\ud800",{_WHEN},"y":"\\ud800"}}')
    assert record.id == "x\\ud800"


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
