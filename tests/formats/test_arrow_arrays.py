"""Arrow arrays are built without the import of pandas, and are equal to those of ``pyarrow.array``."""

from __future__ import annotations

import subprocess
import sys
from typing import Any
from unittest import mock

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord, lines_of
from airflow_audit_provider.formats import arrow_arrays
from airflow_audit_provider.formats.arrow_arrays import ArrayBuilder, arrays_from_buffers
from airflow_audit_provider.formats.part_format import part_format
from tests.formats.odd_records import odd_records, raw_of, records_of
from tests.hypothesis_profiles import examples

_TIME = pa.timestamp("us", tz="UTC")
_TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
_INTEGERS = st.integers(-(2**63), 2**63 - 1)
_COLUMNS: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.string(), _TEXTS),
    (pa.string(), st.text(st.characters(max_codepoint=127))),
    (pa.string(), _TEXTS | _TEXTS.map(str.encode)),
    (pa.int64(), _INTEGERS),
    (_TIME, _INTEGERS),
    (pa.bool_(), st.booleans()),
    (pa.list_(pa.string()), st.lists(_TEXTS, max_size=3).map(tuple)),
    (pa.list_(pa.int64()), st.lists(_INTEGERS, max_size=3)),
]


@pytest.mark.parametrize(("kind", "values"), _COLUMNS)
@examples(100)
@given(drawn=st.data())
def test_array_from_buffers_equals_that_of_pyarrow(
    kind: pa.DataType, values: st.SearchStrategy[Any], drawn: st.DataObject
) -> None:
    """Any values of any column type, with and without nulls, in a column of any length."""
    column = drawn.draw(st.lists(values) | st.lists(values | st.none()))
    _assert_equal_to_those_of_pyarrow([column], [kind])


@examples(100)
@given(drawn=st.data())
def test_arrays_of_several_columns_equal_those_of_pyarrow(drawn: st.DataObject) -> None:
    """Columns of texts share their buffers, whatever their neighbours hold."""
    chosen = drawn.draw(st.lists(st.sampled_from(_COLUMNS), min_size=2, max_size=5))
    count = drawn.draw(st.integers(0, 20))
    columns = [
        drawn.draw(
            st.lists(values | st.none() if drawn.draw(st.booleans()) else values, min_size=count, max_size=count)
        )
        for _, values in chosen
    ]
    _assert_equal_to_those_of_pyarrow(columns, [kind for kind, _ in chosen])


@pytest.mark.parametrize(
    "column",
    [
        ["a\0b", "c"],
        ["\0", None],
        [b"\0", None, "x"],
        ["", None, "a"],
        ["", ""],
        [None, None],
        [b"{}", None, ""],
        ["", b"{}", "\u00e4"],
        [b"", None],
    ],
    ids=str,
)
def test_texts_that_resemble_separators_and_nulls_are_kept(column: list[Any]) -> None:
    """A NUL character in a text, an empty text beside a null, and texts among bytes."""
    _assert_equal_to_those_of_pyarrow([["a", "b", "c"][: len(column)], column], [pa.string()] * 2)


def _assert_equal_to_those_of_pyarrow(columns: list[list[Any]], kinds: list[pa.DataType]) -> None:
    for built, column, kind in zip(arrays_from_buffers(columns, kinds), columns, kinds, strict=True):
        built.validate(full=True)
        expected = pa.array(column, kind)
        assert built.type == expected.type
        assert built.null_count == expected.null_count
        assert built.equals(expected)


@pytest.mark.parametrize("column", [["a", b"\xff"], [b"a", b"\xff"], [None, b"\xff"], [b"\xc3", b"\xa4"]])
def test_text_that_is_no_utf8_is_refused_as_by_pyarrow(column: list[Any]) -> None:
    """The caller then takes its readable form; halves of a character in two texts are no character."""
    with pytest.raises(pa.ArrowInvalid):
        arrays_from_buffers([["a", "b"], column], [pa.string()] * 2)


def test_builder_takes_pyarrow_once_the_import_of_pandas_pays_off() -> None:
    """A long pull pays the import once instead of more for each value."""
    builder = ArrayBuilder(values_without_pandas=7)
    with (
        mock.patch.object(arrow_arrays, "_imports_pandas", return_value=True),
        mock.patch.object(arrow_arrays, "arrays_from_buffers", wraps=arrays_from_buffers) as from_buffers,
    ):
        built = [builder.build([["a", "b"], [1, 2]], [pa.string(), pa.int64()]) for _ in range(4)]
    assert from_buffers.call_count == 2
    assert all([one.to_pylist() for one in arrays] == [["a", "b"], [1, 2]] for arrays in built)


@pytest.mark.parametrize(
    ("has_numpy", "has_pandas", "is_imported", "imports"),
    [(True, True, False, True), (False, True, False, False), (True, False, False, False), (True, True, True, False)],
)
def test_pandas_is_imported_only_where_it_and_numpy_are_installed(
    has_numpy: bool, has_pandas: bool, is_imported: bool, imports: bool
) -> None:
    """Where ``pyarrow.array`` imports nothing, it is used, because it is faster."""
    with mock.patch.dict(sys.modules), mock.patch.object(arrow_arrays, "_has_pandas", return_value=has_pandas):
        for name, is_there in (("numpy", has_numpy), ("pandas", is_imported)):
            sys.modules.pop(name, None)
            if is_there:
                sys.modules[name] = mock.Mock()
        assert arrow_arrays._imports_pandas() is imports


@pytest.mark.parametrize("schema", ["raw", "normalized", "ocsf", "ocsf-1.3"])
@pytest.mark.parametrize("version", list(ApiVersion))
def test_parts_are_the_same_whether_pandas_is_imported_or_not(version: ApiVersion, schema: str) -> None:
    """Records of every kind, odd ones and one that changes roles included, give the same bytes in both ways."""
    many, few = [{"id": "1", "name": "DNS"}, {"id": "2", "name": "Administrator"}], [{"id": "1", "name": "DNS"}]
    member = {"user": {"id": "0" * 32, "email": "bob@example.com"}}
    fields: dict[str, Any] = {
        "actor": {"id": "1" * 32, "email": "ann@example.com", "type": "user"},
        "action": {"type": "update", "result": True},
        "resource": {"type": "account.member", "id": "2" * 32},
        "newValueJson": {**member, "roles": many},
        "oldValueJson": {**member, "roles": few},
    }
    role = raw_of(ApiVersion.V1, "role", **fields)
    records = [*odd_records(version), *(records_of(version, role) if version is ApiVersion.V1 else [])]
    parts = _parts_in_both_ways(version, schema, records)
    assert parts[0] == parts[1]


@pytest.mark.parametrize("schema", ["normalized", "ocsf"])
@pytest.mark.parametrize("version", list(ApiVersion))
def test_json_that_is_no_utf8_gives_the_same_parts(version: ApiVersion, schema: str) -> None:
    """JSON with bytes that are not UTF-8, a NUL beside it, explicit nulls, and a page that is read in halves."""
    name = "newValueJson" if version is ApiVersion.V1 else "resource"
    values = [b'"\xff"', b"{}", b"null", b'{"request":"\xff","scope":"zone"}', b'{"request":null}', b"7"]
    raws = [
        raw_of(version, f"{number}\0")[:-1] + b',"%s":%s}' % (name.encode(), value)
        for number, value in enumerate(values)
        for _ in range(3)
    ]
    records = [one for raw in raws for one in records_of(version, raw)]
    parts = _parts_in_both_ways(version, schema, records)
    assert parts[0] == parts[1]


def _parts_in_both_ways(version: ApiVersion, schema: str, records: list[AuditRecord]) -> list[bytes]:
    """Returns a part whose arrays come from buffers, and one whose arrays pyarrow makes."""
    parts = []
    for imports in (True, False):
        with mock.patch.object(arrow_arrays, "_imports_pandas", return_value=imports):
            encoder = part_format("parquet", None, schema).open_encoder(version)
            parts.append(encoder.encode(records, lines_of(records)) + encoder.finish())
    return parts


@pytest.mark.parametrize(
    "column",
    [
        [msgspec.Raw(b"{}"), None, "x", b"[1]"],
        [None, "x", msgspec.Raw(b"{}")],
        [b"{}", msgspec.Raw(b'"a"'), None],
        [msgspec.Raw(b'"\xc3\xa4"'), None],
    ],
    ids=["raw, null, text, bytes", "null, text, raw", "bytes, raw, null", "raw beyond ASCII"],
)
@pytest.mark.parametrize("neighbour", ["a", "a\0b"])
@pytest.mark.parametrize("imports", [True, False])
def test_raw_json_becomes_its_text(column: list[Any], neighbour: str, imports: bool) -> None:
    """Raw JSON alone and among nulls, texts and bytes, from buffers and by pyarrow."""
    expected = [value if isinstance(value, (str, type(None))) else bytes(value).decode() for value in column]
    with mock.patch.object(arrow_arrays, "_imports_pandas", return_value=imports):
        built = ArrayBuilder().build([[neighbour] * len(column), column], [pa.string()] * 2)
    assert [array.to_pylist() for array in built] == [[neighbour] * len(column), expected]


def test_number_in_a_column_of_texts_is_refused() -> None:
    """``bytes`` of a number would be so many zeros."""
    with (
        mock.patch.object(arrow_arrays, "_imports_pandas", return_value=False),
        pytest.raises(TypeError),
    ):
        ArrayBuilder().build([[msgspec.Raw(b"{}"), 7]], [pa.string()])


@pytest.mark.integration
@pytest.mark.parametrize("schema", ["raw", "normalized", "ocsf"])
def test_pull_into_parquet_does_not_import_pandas(schema: str) -> None:
    """In an interpreter of its own, in which pandas can be imported."""
    command = [sys.executable, "-m", "tests.formats.parquet_pull", schema]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert printed == ["1500", "importable", "absent"]
