"""Parts that are checked all at once: the findings of parts whose records are read one by one."""

from __future__ import annotations

import hashlib
import io
import random
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from airflow_audit_provider.core.api.query import audit_query
from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord, in_order, lines_of, read_records
from airflow_audit_provider.core.archive.manifest import Manifest, Part
from airflow_audit_provider.core.verification.findings import Finding, FindingKind
from airflow_audit_provider.core.verification.manifest_chain import read_chain
from airflow_audit_provider.core.verification.part_checks import WindowCheck
from airflow_audit_provider.formats import jsonl, parquet
from airflow_audit_provider.formats.compression import open_compressor, open_plain
from airflow_audit_provider.formats.part_format import PartFormat, committed_format, part_format
from airflow_audit_provider.pipelines.parts_side_by_side import check_part_records
from tests.core.verification.manifests import KEYS, manifest, stored
from tests.formats.encoded import encode
from tests.formats.odd_records import odd_raws, raw_of
from tests.hypothesis_profiles import examples

pytestmark = pytest.mark.integration

FORMATS = [
    part_format("jsonl", "gzip"),
    part_format("jsonl", "zstd"),
    part_format("parquet"),
    part_format("csv", "gzip"),
    *(
        part_format(file_format, None, schema)
        for schema in ("normalized", "ocsf")
        for file_format in ("jsonl", "parquet")
    ),
]
V1, V2 = ApiVersion.V1, ApiVersion.V2


def plain_raw(version: ApiVersion, number: int) -> bytes:
    """Returns a usual record, one of a window's seconds after the other."""
    when = f"2026-11-01T10:00:{number % 60:02}.5Z"
    return raw_of(version, f"id-{number}", **({"when": when} if version is V1 else {"action": {"time": when}}))


ODD = {
    version: [
        *list(odd_raws(version).values())[::7],
        *(b'{"id":"a"}', b"17", b"{", b'{"id":7,"when":"2026-11-01T10:00:00Z"}', b"\xff", plain_raw(version, 3)),
        *(plain_raw(version, 4).replace(b"id-4", one) for one in (b"", b"sha256:ab", "\ufffd".encode(), b"\xff")),
        *(plain_raw(version, 5).replace(b".5Z", one) for one in (b".1234567Z", b"", b"z", b"+99:00", b"-10:00")),
        plain_raw(version, 6)[:-1] + b',"bytes":"\xff"}',
        plain_raw(version, 7)[:-1] + b',"id":"later"}',
    ]
    for version in ApiVersion
}


def generation_with(form: PartFormat, version: ApiVersion, records: Sequence[AuditRecord], content: bytes) -> Manifest:
    """Returns a generation whose only part has these bytes and states these records."""
    digest = hashlib.sha256(content).hexdigest()
    times = [record.event_ns for record in records] or [0]
    part = Part(KEYS.part(1, 0, digest, form.extension), len(content), digest, len(records), times[0], times[-1])
    return manifest(
        query=audit_query(str(version), None, account_id="0" * 32),
        parts=(part,),
        file_format=form.file_format,
        compression=form.compression,
        table=form.table,
        record_count=len(records),
        added_count=len(records),
        records_sha256=hashlib.sha256(lines_of(records)).hexdigest(),
    )


def findings_of(stated: Manifest, content: bytes, *, at_once: bool) -> tuple[list[Finding], int]:
    """Returns the findings of the part and its number of records, read at once or one by one."""
    check, (part,) = WindowCheck(read_chain(stored(stated))), stated.parts
    if at_once:
        check_part_records(check, stated, part, content)
    else:
        try:
            form = committed_format(stated)
            check.check_records(part, form.read(stated.query.version, content, part.first_event_ns))
        except Exception as error:  # noqa: BLE001 - decoders raise many kinds of errors on damaged bytes
            check.on_unreadable(part, error)
    return check.finish(), check.record_count


def is_read_at_once(stated: Manifest, content: bytes) -> bool:
    """Returns whether all records of a part are plain."""
    try:
        return bool([*committed_format(stated).read_plain(stated.query.version, content)])
    except Exception:  # noqa: BLE001 - decoders raise many kinds of errors on damaged bytes
        return False


def pick(draw: Any, version: ApiVersion) -> list[AuditRecord]:
    """Returns some usual records, and in half of the cases odd ones."""
    raws = [plain_raw(version, number) for number in draw(st.lists(st.integers(0, 40), min_size=1, max_size=6))]
    raws += draw(st.lists(st.sampled_from(ODD[version]), max_size=2)) if draw(st.booleans()) else []
    return in_order(read_records(version, raws))


def damaged(draw: Any, form: PartFormat, content: bytes) -> bytes:
    """Returns a part with one byte of its lines or of the file changed, or as it is."""
    how = draw(st.sampled_from(["as it is", "lines", "file"]))
    if how == "lines" and form.file_format != "parquet":
        with open_plain(form.compression, content) as plain:
            content = plain.read()
    edited = bytearray(content)
    if how != "as it is":
        place = draw(st.integers(0, len(edited) - 1))
        edited[place : place + 1] = draw(
            st.sampled_from([b"", b"\n", b"\r", b'"', b"\xff", b"}", b"0", b"\n\n", b"\\"])
        )
    if how == "lines" and form.file_format != "parquet":
        compressor = open_compressor(form.compression)
        return compressor.compress(bytes(edited)) + compressor.flush()
    return bytes(edited)


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: f"{form.schema} {form.extension}")
@given(choices=st.data())
@examples(60)
def test_part_read_at_once_has_the_same_findings(form: PartFormat, choices: st.DataObject) -> None:
    """Odd records, damaged bytes, and a manifest that states other facts: each finding is the same."""
    version = choices.draw(st.sampled_from(ApiVersion))
    records = pick(choices.draw, version)
    content = damaged(choices.draw, form, encode(form, version, records))
    stated = generation_with(form, version, records[choices.draw(st.integers(0, 1)) :], content)
    event("at once" if is_read_at_once(stated, content) else "one by one")
    assert findings_of(stated, content, at_once=True) == findings_of(stated, content, at_once=False)


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: f"{form.schema} {form.extension}")
@pytest.mark.parametrize("version", ApiVersion)
def test_plain_part_is_read_at_once(form: PartFormat, version: ApiVersion) -> None:
    """The fast way is taken, also by parts of several groups and pieces."""
    records = in_order(read_records(version, [plain_raw(version, number) for number in range(12_000)]))
    content = encode(form, version, records)
    stated = generation_with(form, version, records, content)
    assert is_read_at_once(stated, content)
    assert findings_of(stated, content, at_once=True) == ([], 12_000)


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: f"{form.schema} {form.extension}")
@given(choices=st.data(), piece_bytes=st.integers(1, 200), most_rows=st.integers(1, 5))
@examples(60)
def test_part_read_in_small_pieces_has_the_same_findings(
    form: PartFormat, choices: st.DataObject, piece_bytes: int, most_rows: int
) -> None:
    """The same, where a piece ends anywhere, also inside a replacement character."""
    version = choices.draw(st.sampled_from(ApiVersion))
    records = pick(choices.draw, version)
    content = damaged(choices.draw, form, encode(form, version, records))
    stated = generation_with(form, version, records, content)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(jsonl, "PIECE_BYTES", piece_bytes)
        patched.setattr(parquet, "PIECE_BYTES", piece_bytes)
        patched.setattr(parquet, "_MOST_ROWS", most_rows)
        event("at once" if is_read_at_once(stated, content) else "one by one")
        assert findings_of(stated, content, at_once=True) == findings_of(stated, content, at_once=False)


@pytest.mark.parametrize("piece_bytes", range(1, 500, 7))
def test_replacement_character_is_seen_wherever_pieces_end(piece_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that are not UTF-8 cannot be proved; they are not reported as changed."""
    form = part_format("parquet")
    raws = [plain_raw(V1, number)[:-1] + b',"bytes":"\xff"}' for number in range(9)]
    records = in_order(read_records(V1, raws))
    content = encode(form, V1, records)
    stated = generation_with(form, V1, records, content)
    monkeypatch.setattr(parquet, "PIECE_BYTES", piece_bytes)
    assert is_read_at_once(stated, content)
    found, record_count = findings_of(stated, content, at_once=True)
    assert [one.kind for one in found] == [FindingKind.RECORDS_UNPROVABLE]
    assert record_count == 9


def test_rows_of_large_records_are_few_at_a_time() -> None:
    """The memory of a check is bounded by bytes, not by rows."""
    form = part_format("parquet")
    pads = (random.Random(number).randbytes(1 << 18).hex().encode() for number in range(40))
    raws = [plain_raw(V1, number)[:-1] + b',"pad":"%s"}' % pad for number, pad in enumerate(pads)]
    content = encode(form, V1, in_order(read_records(V1, raws)))
    sizes = [len(piece) for piece, _ in parquet.read_parquet_lines(content, "record", "id")]
    groups = parquet._batches(content, "record", "id", most_bytes=4 << 20, use_threads=False)
    assert len(sizes) == 40
    assert max(sizes) < 1 << 20
    assert max(len(texts) for texts, _ in groups) <= 8


def parquet_of(texts: list[bytes | None], ids: list[bytes | None], kind: str) -> bytes:
    """Returns a Parquet file with these columns, which need not hold valid UTF-8."""
    import pyarrow as pa
    from pyarrow import parquet as arrow_parquet

    columns = [pa.array(values, pa.binary()).view(pa.string()) for values in (ids, texts)]
    if kind != "string":
        columns = [column.cast(getattr(pa, kind)()) for column in columns]
    sink = io.BytesIO()
    arrow_parquet.write_table(pa.table(columns, names=["id", "record"]), sink)
    return sink.getvalue()


TEXT = plain_raw(V1, 1)
ODD_TABLES = {
    "null as record": ([TEXT, None], [b"a", b"b"], "string"),
    "null as id": ([TEXT, TEXT], [b"a", None], "string"),
    "invalid id": ([TEXT], [b"\xff"], "string"),
    "binary columns": ([TEXT], [b"a"], "binary"),
    "large columns": ([TEXT], [b"a"], "large_string"),
    "two records in a text, none in another": ([TEXT + b"\n" + TEXT, b""], [b"a", b"b"], "string"),
    "two records in a text": ([TEXT + b"\n" + plain_raw(V1, 2)], [b"a"], "string"),
    "a line break inside": ([TEXT.replace(b", ", b",\n", 1)], [b"a"], "string"),
    "a line break behind": ([TEXT + b"\n"], [b"a"], "string"),
    "a line break inside, later": ([TEXT, TEXT.replace(b", ", b",\n", 1), TEXT], [b"a", b"b", b"c"], "string"),
    "no rows": ([], [], "string"),
}


@pytest.mark.parametrize(("texts", "ids", "kind"), ODD_TABLES.values(), ids=ODD_TABLES)
def test_odd_table_has_the_same_findings(texts: list[bytes | None], ids: list[bytes | None], kind: str) -> None:
    """Columns that a pull never writes are judged as before."""
    form, content = part_format("parquet"), parquet_of(texts, ids, kind)
    stated = generation_with(form, V1, read_records(V1, [TEXT] * len(texts)), content)
    assert findings_of(stated, content, at_once=True) == findings_of(stated, content, at_once=False)


def test_part_that_turns_odd_late_leaves_no_trace() -> None:
    """Records in front of the odd one are counted once."""
    form = part_format("jsonl", "none")
    raws = [plain_raw(V1, number) for number in range(12_000)] + [b'{"id":7,"when":"2026-11-01T12:00:00Z"}']
    records = in_order(read_records(V1, raws))
    content = encode(form, V1, records)
    stated = generation_with(form, V1, records, content)
    check, (part,) = WindowCheck(read_chain(stored(stated))), stated.parts
    with pytest.raises(msgspec.ValidationError):
        check.check_plain_records(part, form.read_plain(V1, content))
    assert findings_of(stated, content, at_once=True) == ([], 12_001)


@pytest.mark.parametrize("between", [b"][", b"] [", b"", b","])
def test_line_with_two_records_has_the_same_findings(between: bytes) -> None:
    """No reader of JSON Lines finds two records there, so a manifest that states two is contradicted."""
    raws = [plain_raw(V1, 1), plain_raw(V1, 2)]
    content = between.join(raws) + b"\n"
    stated = generation_with(part_format("jsonl", "none"), V1, read_records(V1, raws), content)
    found, record_count = findings_of(stated, content, at_once=True)
    assert (found, record_count) == findings_of(stated, content, at_once=False)
    assert record_count == 1
