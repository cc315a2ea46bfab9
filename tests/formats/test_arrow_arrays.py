"""Arrow arrays are built without the import of pandas, and are equal to those of ``pyarrow.array``."""

from __future__ import annotations

import subprocess
import sys
from typing import Any
from unittest import mock

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_audit_provider.formats import arrow_arrays
from airflow_audit_provider.formats.arrow_arrays import ArrayBuilder, array_from_buffers
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
]


@pytest.mark.parametrize(("kind", "values"), _COLUMNS)
@examples(100)
@given(drawn=st.data())
def test_array_from_buffers_equals_that_of_pyarrow(
    kind: pa.DataType, values: st.SearchStrategy[Any], drawn: st.DataObject
) -> None:
    """Any values of any column type, with and without nulls, in a column of any length."""
    column = drawn.draw(st.lists(values) | st.lists(values | st.none()))
    built = array_from_buffers(column, kind)
    built.validate(full=True)
    expected = pa.array(column, kind)
    assert built.type == expected.type
    assert built.null_count == expected.null_count
    assert built.equals(expected)


def test_text_that_is_no_utf8_is_refused_as_by_pyarrow() -> None:
    """The caller then takes its readable form."""
    with pytest.raises(pa.ArrowInvalid):
        array_from_buffers(["a", b"\xff"], pa.string())


def test_builder_takes_pyarrow_once_the_import_of_pandas_pays_off() -> None:
    """A long pull pays the import once instead of more for each value."""
    builder = ArrayBuilder(values_without_pandas=3)
    with (
        mock.patch.object(arrow_arrays, "_imports_pandas", return_value=True),
        mock.patch.object(arrow_arrays, "array_from_buffers", wraps=array_from_buffers) as from_buffers,
    ):
        arrays = [builder.build(["a", "b"], pa.string()) for _ in range(4)]
    assert from_buffers.call_count == 2
    assert all(built.to_pylist() == ["a", "b"] for built in arrays)


def test_builder_takes_pyarrow_where_pandas_is_imported_or_missing() -> None:
    """Then ``pyarrow.array`` imports nothing and is faster."""
    with mock.patch.object(arrow_arrays, "array_from_buffers") as from_buffers:
        with mock.patch.dict(sys.modules, {"pandas": mock.Mock()}):
            ArrayBuilder().build(["a"], pa.string())
        with mock.patch.object(arrow_arrays, "_has_pandas", return_value=False):
            ArrayBuilder().build(["a"], pa.string())
    from_buffers.assert_not_called()


@pytest.mark.integration
@pytest.mark.parametrize("schema", ["raw", "normalized", "ocsf"])
def test_pull_into_parquet_does_not_import_pandas(schema: str) -> None:
    """In an interpreter of its own, in which pandas can be imported."""
    command = [sys.executable, "-m", "tests.formats.parquet_pull", schema]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert printed == ["1500", "importable", "absent"]
