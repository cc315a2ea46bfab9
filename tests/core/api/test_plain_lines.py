"""Plain lines read all at once: the same ids, times and bytes as records read one by one, or a refusal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise

import msgspec
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from airflow_audit_provider.core.api.plain_lines import NotPlainError, PlainLineReader, PlainRecords
from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord, is_undated, lines_of, read_records
from tests.hypothesis_profiles import examples

V1, V2 = ApiVersion.V1, ApiVersion.V2
REFUSALS = (NotPlainError, msgspec.DecodeError, ValueError, TypeError, RecursionError)
WHEN = "2026-11-01T10:20:30.5Z"


def line_of(version: ApiVersion, record_id: str = "a", when: str = WHEN, rest: str = '"x":1') -> bytes:
    """Returns a record as one line, without its line feed."""
    time = f'"when":{json.dumps(when)}' if version is V1 else f'"action":{{"time":{json.dumps(when)}}}'
    return f'{{"id":{json.dumps(record_id, ensure_ascii=False)},{time},{rest}}}'.encode()


def read_plain(version: ApiVersion, text: bytes, *cuts: int) -> PlainRecords:
    """Returns the records of lines that come in pieces, which end at these places and at the end."""
    reader = PlainLineReader(version)
    bounds = [0, *sorted(cuts), len(text)]
    groups = [reader.read(text[start:end]) for start, end in pairwise(bounds)]
    reader.finish()
    edges = [edge for group in groups for edge in group.edges_ns]
    ids = [record_id for group in groups for record_id in group.ids]
    return PlainRecords(ids, (min(edges), max(edges)), b"".join(group.lines for group in groups))


def read_in_groups(version: ApiVersion, lines: Sequence[bytes], size: int) -> list[AuditRecord]:
    """Returns the records of lines that are read so many at a time."""
    starts = range(0, len(lines), size)
    return [record for start in starts for record in read_records(version, lines[start : start + size])]


@pytest.mark.parametrize("version", ApiVersion)
def test_plain_lines_are_read_in_order(version: ApiVersion) -> None:
    """Ids, the first and last time, and the bytes are those of the records."""
    lines = [line_of(version, "b", "2026-11-01T00:00:01Z"), line_of(version, "a", "2026-11-01T00:00:00.123456Z")]
    text = b"".join(line + b"\n" for line in lines)
    records = read_records(version, lines)
    times = [record.event_ns for record in records]
    assert read_plain(version, text) == (["b", "a"], (min(times), max(times)), text)


@pytest.mark.parametrize("version", ApiVersion)
def test_pieces_end_anywhere(version: ApiVersion) -> None:
    """A record that two pieces share is read once, wherever they meet."""
    text = b"".join(line_of(version, str(number)) + b"\n" for number in range(3))
    middle = len(text) // 3
    for cut in range(middle, 2 * middle + 1):
        assert read_plain(version, text, cut).ids == ["0", "1", "2"]


LINE = line_of(V1)
NOT_PLAIN = {
    "two objects on a line, and none on another": LINE + LINE + b"\n\n",
    "two objects with a comma": LINE + b"," + LINE + b"\n",
    "two objects with a comma, and none on another line": LINE + b"," + LINE + b"\n \n",
    "an object on two lines": LINE + b" " + LINE + b'\n{"id":\n"c","when":"2026-11-01T10:20:30Z"}\n',
    "two objects with a list between them": LINE + b"][" + LINE + b"\n",
    "two objects with a list between them, on the last of two lines": LINE + b"\n" + LINE + b"] [" + LINE + b"\n",
    "a line that closes its list": LINE + b"]\n[" + LINE[:-1] + b"\n",
    "an empty line": LINE + b"\n\n",
    "no object": b"[]\n",
    "no line feed at the end": LINE,
    "carriage return": LINE + b"\r\n",
    "invalid JSON": LINE[:-1] + b"\n",
    "numeric id": b'{"id":7,"when":"2026-11-01T10:20:30Z"}\n',
    "no id": b'{"when":"2026-11-01T10:20:30Z"}\n',
    "empty id": line_of(V1, "") + b"\n",
    "replaced id": line_of(V1, "\ufffd") + b"\n",
    "digest as id": line_of(V1, "sha256:00") + b"\n",
    "no time": b'{"id":"a"}\n',
    "null as time": b'{"id":"a","when":null}\n',
    "nanoseconds": line_of(V1, when="2026-11-01T10:20:30.1234567Z") + b"\n",
    "time without an offset": line_of(V1, when="2026-11-01T10:20:30") + b"\n",
    "time of the epoch": line_of(V1, when="1970-01-01T00:00:00Z") + b"\n",
    "time of the epoch among others": LINE + b"\n" + line_of(V1, when="1970-01-01T00:00:00Z") + b"\n",
    "time before the epoch": line_of(V1, when="1969-01-01T00:00:00Z") + b"\n",
    "no instant": line_of(V1, when="yesterday") + b"\n",
}


@pytest.mark.parametrize("text", NOT_PLAIN.values(), ids=NOT_PLAIN)
def test_other_lines_are_refused(text: bytes) -> None:
    """Anything but one usual object on each line is left to the reader of single records."""
    with pytest.raises(REFUSALS):
        read_plain(V1, text)


def test_line_longer_than_a_piece_is_refused() -> None:
    """Pieces bound the memory, so a line that no piece holds is not collected."""
    with pytest.raises(NotPlainError):
        PlainLineReader(V1).read(LINE)


TIMES = st.sampled_from(
    [
        *(WHEN, "2026-11-01T00:00:00Z", "2026-11-01T00:00:00.123456Z", "2026-11-01T02:00:00+02:00"),
        *("2026-11-01T00:00:00.1234567Z", "2026-11-01t00:00:00z", "2026-11-01 00:00:00Z", "2026-11-01T00:00:00"),
        *("2026-11-01T23:59:60Z", "2026-11-01T24:00:00Z", "2026-02-30T00:00:00Z", "2026-11-01T00:00:00,5Z", ""),
        *("1970-01-01T00:00:00Z", "1969-12-31T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "soon"),
        *("2026-11-01T00:00:00+0200", "2026-11-01T00:00Z", "9999-12-31T23:59:59.999999-01:00", "1788220800"),
    ]
)
PLAIN_TIMES = st.sampled_from(
    [WHEN, "2026-11-01T00:00:00Z", "2026-11-01T00:00:00.123456Z", "2026-11-01T02:00:00+02:00", "2026-11-01T00:00:00.5z"]
)
IDS = st.sampled_from(["a", "b", "é", "\ufffd", "sha256:00", "", "😀", 'q"\\', "x" * 40])
RESTS = st.sampled_from(
    [
        *('"x":1', '"x":"\\u000a"', '"x":NaN', '"x":"\\ud800"', '"id":"later"', '"\\u0069d":"escaped"', '"id":7'),
        *('"x":"]\\n["', '"x":[{"id":"inner"}]', '"x":"}{"', '"when":null', '"action":{"time":null}', '"x":', '"x"'),
        *('"x":\n1', '"x":"\n"', '"x":"]\n["', '"x":[\n]', '"x":1}\n{"id":"n"', '"x":1},{"id":"n"', "}", "{", "]", "["),
    ]
)
FRAGMENTS = st.sampled_from(
    [
        b"",
        b" ",
        b"\t",
        b"\r",
        b"{}",
        b"[]",
        b"null",
        b"1",
        b'{"id":"a"',
        b'"when":"2026-11-01T00:00:00Z"}',
        b"\xff",
        b"]",
    ]
)


@st.composite
def lines_in(draw: st.DrawFn, version: ApiVersion) -> bytes:
    """Returns lines: mostly records, some odd, some damaged."""
    plain = st.builds(line_of, st.just(version), st.sampled_from(["a", "b", "c"]), PLAIN_TIMES)
    odd = st.builds(line_of, st.just(version), IDS, st.one_of(PLAIN_TIMES, TIMES), RESTS)
    pairs = st.tuples(plain, st.sampled_from([b"", b" ", b",", b"\n", b"][", b"]\t["]), plain).map(b"".join)
    lines = draw(st.lists(st.one_of(*[plain] * 6, odd, odd, pairs, FRAGMENTS), min_size=1, max_size=4))
    text = bytearray(b"\n".join(lines) + draw(st.sampled_from([b"\n", b"\n", b"\n", b""])))
    for place in draw(st.lists(st.integers(0, max(0, len(text) - 1)), max_size=2)) if draw(st.booleans()) else ():
        text[place : place + 1] = draw(st.sampled_from([b"", b"\n", b'"', b"\xff", b"}", b"{", b",", b"\\", b"0"]))
    return bytes(text)


@pytest.mark.parametrize("version", ApiVersion)
@given(choices=st.data())
@examples(400)
def test_accepted_lines_read_as_single_records_do(version: ApiVersion, choices: st.DataObject) -> None:
    """Whatever the lines are: if they are not refused, ids, times and bytes are those of the records."""
    text = choices.draw(lines_in(version))
    try:
        found = read_plain(version, text)
    except REFUSALS as refusal:
        event(type(refusal).__name__)
        return
    event("accepted")
    lines = text.split(b"\n")[:-1]
    for size in (1, 2, 1000):
        records = read_in_groups(version, lines, size)
        times = [record.event_ns for record in records]
        assert found == ([record.id for record in records], (min(times), max(times)), lines_of(records))
        assert not any(map(is_undated, records))
