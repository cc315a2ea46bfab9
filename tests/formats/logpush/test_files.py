"""Files of an archive are read as rows in every form, and what is no row is counted and skipped."""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.formats.csv import wide_fields
from airflow_audit_provider.formats.logpush import files
from airflow_audit_provider.formats.logpush.files import ArchiveForm, LogFile
from airflow_audit_provider.formats.logpush.times import ReadTime, read_time
from tests.hypothesis_profiles import examples

SECOND = 1_000_000_000
WHEN = 1_792_972_800
V1 = ArchiveForm(ApiVersion.V1)


def line(record_id: str, **fields: object) -> bytes:
    """Returns a row as a line of NDJSON."""
    return json.dumps({"ID": record_id, "When": WHEN, **fields}).encode() + b"\n"


def ids(content: bytes, form: ArchiveForm = V1) -> tuple[list[str], LogFile]:
    """Returns the ids in a file, and the file after it was read."""
    file = LogFile(form, content)
    return [row.id for row in file.rows()], file


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-10-26T00:00:00Z", ReadTime(WHEN * SECOND, SECOND)),
        ("2026-10-26T02:00:00+02:00", ReadTime(WHEN * SECOND, SECOND)),
        ("2026-10-26T00:00:00.25Z", ReadTime(WHEN * SECOND + SECOND // 4, 10_000_000)),
        (WHEN, ReadTime(WHEN * SECOND, SECOND)),
        (str(WHEN), ReadTime(WHEN * SECOND, SECOND)),
        (f" {WHEN} ", ReadTime(WHEN * SECOND, SECOND)),
        (WHEN + 0.5, ReadTime(WHEN * SECOND + SECOND // 2, 1000)),
        (WHEN * SECOND + 7, ReadTime(WHEN * SECOND + 7, 1)),
        (str(WHEN * SECOND + 7), ReadTime(WHEN * SECOND + 7, 1)),
    ],
)
def test_read_time_every_timestamp_format_is_read(value: object, expected: ReadTime) -> None:
    """RFC 3339, Unix seconds and Unix nanoseconds are read, as numbers and as text."""
    assert read_time(value) == expected


@pytest.mark.parametrize(
    "value", [None, "", 0, "0", True, [], "yesterday", WHEN * 1000, "2026-13-01T00:00:00Z", 10**40]
)
def test_read_time_other_value_is_no_time(value: object) -> None:
    """Zeros, milliseconds and everything else are no time."""
    assert read_time(value) is None


def test_file_of_several_gzip_members_is_read_whole() -> None:
    """A file of two gzip streams has the rows of both."""
    assert ids(gzip.compress(line("a")) + gzip.compress(line("b")))[0] == ["a", "b"]


def test_file_cut_anywhere_gives_whole_rows_and_says_so() -> None:
    """Of a file that is cut anywhere, only whole lines before the cut are rows, and the file is reported."""
    content = gzip.compress(
        b"".join(line(f"{number:032x}", ActorEmail=f"{number}@example.com") for number in range(40))
    )
    counts = set()
    for size in range(1, len(content)):
        found, file = ids(content[:size])
        assert found == [f"{number:032x}" for number in range(len(found))]
        assert file.damage or file.foreign_lines, size
        counts.add(len(found))
    assert len(counts) > 20


def test_file_with_damaged_bytes_is_reported() -> None:
    """A flipped byte in the middle ends the file there, or shows in its digest."""
    content = bytearray(gzip.compress(b"".join(line(f"{number:032x}") for number in range(40))))
    content[len(content) // 2] ^= 0xFF
    assert "damaged" in ids(bytes(content))[1].damage


def test_bytes_after_the_gzip_stream_are_damage() -> None:
    """Bytes behind the last stream are named, and zeros that fill a block are not."""
    content = gzip.compress(line("a"))
    for rest, expected in (
        (b"", ""),
        (b"\0" * 100, ""),
        (b"PK\0", "3 bytes after the gzip stream do not belong to it"),
    ):
        found, file = ids(content + rest)
        assert (found, file.damage) == (["a"], expected)


def test_file_with_foreign_lines_keeps_its_rows() -> None:
    """Lines that are no rows are counted with the number of the first one, and rows of the other dataset apart."""
    other = json.dumps({"AuditLogID": "v2", "ActionTimestamp": WHEN}).encode()
    content = line("a") + b"not json\n\n[1]\n" + other + b'\n{"RayID":"x"}\n{"ID":{}}\n' + line("b")
    found, file = ids(content)
    assert found == ["a", "b"]
    assert (file.foreign_lines, file.first_foreign, file.other_count) == (4, 2, 1)
    assert not file.is_foreign


@pytest.mark.parametrize(
    "form",
    [
        '{"events":[\n  {"info":%s},\n  {"info":%s}\n]}\n',
        '{"events":[{"info":%s},{"info":%s}]}',
        '{"events":[%s,\n%s]}\n',
        "[%s,%s]\n",
        "[\n%s\n,\n%s\n]\n",
        "%s,%s\n",
        "%s%s",
        '{"host":"a","data":{"rows":[%s,%s]}}\n',
    ],
)
def test_rows_inside_of_other_json_are_read(form: str) -> None:
    """Rows in lists and objects, on one line or on several, are rows, and their punctuation is nothing foreign."""
    found, file = ids((form % (line("a").decode().strip(), line("b").decode().strip())).encode())
    assert (found, file.foreign_lines, file.damage) == (["a", "b"], 0, "")
    assert file.layout is not None
    assert file.layout.names == ("ID", "When")


@pytest.mark.parametrize(
    ("content", "found", "foreign_count"),
    [
        ('{"events":[]}\n', [], 1),
        ('{"events":[\n]}\n', [], 2),
        ('[{"ID":"a"},{"RayID":"x"},5]\n', ["a"], 2),
        ('{"events":[{"ID":"a"},{"ID":"cut', ["a"], 1),
        ('{"ID":"a"} and text\n', ["a"], 1),
        ('{"ID":"a","NewValue":[{"ID":"b"}]}\n{"Metadata":[{"ID":"c"}]}\n', ["a"], 1),
        ('{"ID":"a"}\n{"NewValue":[{"ID":"b"}\n', ["a"], 1),
        ('{"RayID":"x","Headers":{"a":{"b":1},"c":[1,2]}}\n', [], 1),
        ('{"a":{"b":{"c":{"d":{"e":{"f":{"ID":"deep"}}}}}}}\n', [], 1),
    ],
)
def test_what_is_no_row_inside_of_other_json_is_counted(content: str, found: list[str], foreign_count: int) -> None:
    """Other entries of a list, cut ones and values of a row's own fields are no rows, and are counted."""
    got, file = ids(content.encode())
    assert (got, file.foreign_lines) == (found, foreign_count)
    assert file.is_foreign is (not found)


@pytest.fixture
def csv_limit() -> Iterator[int]:
    """Python's own limit of a field; an export that another test of the process reads sets a higher one."""
    limit = 131_072
    before = csv.field_size_limit(limit)
    yield limit
    csv.field_size_limit(before)


def test_limit_of_csv_fields_is_as_before_after_a_file_is_read(csv_limit: int) -> None:
    """A cell above Python's limit is read, and the limit of the process is the same again, also after half a file."""
    limit = csv_limit
    text = "x" * (limit + 1)
    content = f'"a",{WHEN},"{text}"\n"b",{WHEN},""\n'.encode()
    form = V1._replace(field_names=("ID", "When", "OldValue"))
    rows = LogFile(form, content).rows()
    assert next(rows).fields["OldValue"] == text
    with wide_fields:
        assert next(rows).id == "b"
    assert csv.field_size_limit() > limit
    rows.close()
    assert csv.field_size_limit() == limit
    assert ids(content, form)[0] == ["a", "b"]
    assert csv.field_size_limit() == limit


def test_row_of_csv_that_never_ends_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """An open quote makes no row that is longer than a line may be, and the rows behind it are read."""
    monkeypatch.setattr(files, "LONGEST_LINE", 1000)
    content = b'ID,When\na,1792972800\n"b,1\n' + b"cell,1\n" * 200 + b"c,1792972800\n"
    found, file = ids(content)
    assert (found[0], found[-1], file.foreign_lines > 0) == ("a", "c", True)


def test_file_without_a_row_is_foreign() -> None:
    """A text, and a file of another dataset, are foreign; an empty file is not."""
    assert ids(b"challenge\n")[1].is_foreign
    assert ids(b'{"RayID":"x"}\n')[1].is_foreign
    assert not ids(b"")[1].is_foreign
    assert not ids(gzip.compress(b""))[1].is_foreign


def test_csv_quoting_and_line_breaks_are_read() -> None:
    """Quotes, delimiters and line breaks inside a cell belong to the cell."""
    content = b'When,ID,ActionType\n"1792972800","a","x, ""y""\nz"\n1792972800,b,\n'
    rows = list(LogFile(V1, content).rows())
    assert [(row.id, row.fields["ActionType"]) for row in rows] == [("a", 'x, "y"\nz'), ("b", "")]


def test_csv_cut_anywhere_has_no_half_row() -> None:
    """Of a CSV file that is cut anywhere, also inside of quotes, each row is one of the whole file."""
    rows = "".join(f'"{number:032x}",{WHEN},"one, ""{number}""\n{{}}\nthree"\n' for number in range(30))
    text = f"ID,When,OldValue\n{rows}".encode()
    whole = {row.id: row for row in LogFile(V1, text).rows()}
    assert len(whole) == 30
    for size in range(len(text)):
        stream = zlib.compressobj(6, zlib.DEFLATED, 31)
        file = LogFile(V1, stream.compress(text[:size]) + stream.flush(zlib.Z_SYNC_FLUSH))
        found = list(file.rows())
        assert found == [whole[row.id] for row in found], size
        assert len(found) >= text[:size].count(b'three"') - 1
        assert file.damage


def test_csv_delimiter_is_found_behind_texts_that_have_others() -> None:
    """Without a header, line breaks and other delimiters in the cells of the first row do not hide the delimiter."""
    form = V1._replace(field_names=("When", "OldValue", "ID"))
    for text in ("one\ntwo", "a,b", "a;b\n", "a,b|c,d\n{}"):
        rows = list(LogFile(form, f'{WHEN}\t"{text}"\t"a"\n{WHEN}\t"{text}"\t"b"\n'.encode()).rows())
        assert [(row.id, row.event_ns, row.fields["OldValue"]) for row in rows] == [
            ("a", WHEN * SECOND, text),
            ("b", WHEN * SECOND, text),
        ]
    pair = V1._replace(field_names=("When", "ID"))
    assert ids(f'{WHEN}\t"a,b"\n'.encode(), pair)[0] == ["a,b"]


def test_csv_with_lines_of_json_in_a_cell_is_csv() -> None:
    """A line break in a cell may be followed by JSON, which is no row."""
    content = f'ID,When,OldValue\n"a",{WHEN},"text\n{{}}\n"\n"b",{WHEN},""\n'.encode()
    assert ids(content)[0] == ["a", "b"]
    assert ids(b'{"ID":"cut\n' + line("a"))[0] == ["a"]


@pytest.mark.parametrize(
    "content", [b"one\rtwo\n", b"\x89PNG\r\n\x1a\n\x00\x00", b"PAR1\x15\x04\r\x00PAR1", b'"\r\n"\x00"x', b"\xff\xfe\n"]
)
def test_binary_object_is_foreign(content: bytes) -> None:
    """Objects of other programs below the prefix have no rows and raise nothing."""
    for form in (V1, V1._replace(field_names=("ID", "When"))):
        found, file = ids(content, form)
        assert (found, file.is_foreign) == ([], True)


@given(st.binary(max_size=200), st.booleans(), st.sampled_from([(), ("ID", "When"), ("ID",)]))
@examples(300)
def test_any_content_is_read_or_counted(content: bytes, is_zipped: bool, names: tuple[str, ...]) -> None:
    """No content raises, and what has bytes has rows, foreign lines or damage."""
    found, file = ids(gzip.compress(content) if is_zipped else content, V1._replace(field_names=names))
    is_empty = not content.strip(b" \t\r\n\x0b\x0c")
    assert found or file.foreign_lines or file.damage or file.other_count or is_empty


def test_layout_is_that_of_a_row_with_a_time() -> None:
    """A job without the time has its fields all the same; rows of other programs show nothing of the job."""
    file = ids(b'{"ID":"a","RayID":"x"}\n{"ID":"b","When":""}\n' + line("c", ActorEmail="x"))[1]
    assert file.layout is not None
    assert file.layout.names == ("ID", "When", "ActorEmail")
    assert file.layout.time_form.timestamp_format == "unix"
    file = ids(b'{"ID":"a","RayID":"x"}\n{"ID":"b","ActorEmail":""}\n{"ID":"c"}\n')[1]
    assert file.layout is not None
    assert file.layout.names == ("ID", "ActorEmail")


def test_csv_header_again_in_the_middle_is_no_row() -> None:
    """A header in the middle of a file is no row, and names the columns from there on."""
    rows = list(LogFile(V1, b"ID,When\na,1792972800\nWhen,ID\n1792972800,b\n").rows())
    assert [(row.id, row.event_ns) for row in rows] == [("a", WHEN * SECOND), ("b", WHEN * SECOND)]


def test_csv_without_header_needs_column_names() -> None:
    """Without a header and without names no line is a row; with names all of them are, whatever the delimiter."""
    content = f'{WHEN}|"a"\n{WHEN}|"b"\n{WHEN}\n'.encode()
    assert ids(content)[1].is_foreign
    found, file = ids(content, V1._replace(field_names=("When", "ID")))
    assert (found, file.foreign_lines) == (["a", "b"], 1)


def test_renamed_fields_are_read_by_their_own_names() -> None:
    """Names that a record template gives are the Logpush names again, in NDJSON and in a CSV header."""
    form = V1._replace(renames={"audit-id": "ID", "at": "When"})
    assert ids(b'{"audit-id":"a","at":1792972800}\n', form)[0] == ["a"]
    rows = list(LogFile(form, b"at,audit-id\n1792972800,b\n").rows())
    assert [(row.id, row.event_ns) for row in rows] == [("b", WHEN * SECOND)]


def test_id_that_is_a_number_is_its_text() -> None:
    """A numeric id, and one with half a surrogate pair, are texts."""
    assert ids(b'{"ID":12}\n{"ID":"\\ud800"}\n')[0] == ["12", "?"]
