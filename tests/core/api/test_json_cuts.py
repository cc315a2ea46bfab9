"""JSON is cut by its structure alone, whatever its values are, and what is not balanced is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_audit_provider.core.api.json_cuts import cut_fields, cut_result, escape_line_breaks
from tests.hypothesis_profiles import examples

ENTRIES = [b"null", b"{}", b'{"a":[1,{"b":"}],"}]}', b"NaN", b'"],["', b'{"x":"\xff\x00\\""}', b"[" * 9 + b"]" * 9]
VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def test_entries_keep_their_bytes() -> None:
    """Entries are cut at the commas of the list itself, and an empty list stays in their place."""
    body = b' {"result" : [ %b ] ,"success":true} ' % b" ,\n".join(ENTRIES)
    assert cut_result(body) == (ENTRIES, b' {"result" : [] ,"success":true} ')
    assert cut_result(b'{"result":[ ]}') == ([], b'{"result":[]}')


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"<html>", b'{"result":null}', b'{"other":[]}', b'{"result":[1,]}', b'{"result":[,1]}',
        b'{"result":[1,,2]}', b'{"result":[1}', b'{"result":[{]}]}', b'{"result":["a]}', b'{"result":["a\\"]}',
        b'{"result":[1]', b'{"x":{"result":[1]}}',
    ],
)  # fmt: skip
def test_unbalanced_response_is_refused(body: bytes) -> None:
    """A response without a whole result list at its top is not cut."""
    with pytest.raises(ValueError, match=r"result|bracket|object"):
        cut_result(body)


@pytest.mark.integration
def test_depth_does_not_recurse() -> None:
    """A million brackets are cut in a loop."""
    deep = b'{"a":%b%b,"b":1}' % (b"[" * 1_000_000, b"]" * 1_000_000)
    assert (cut_fields(deep) or {})["b"] == b"1"


@pytest.mark.integration
@examples(60)
@given(record=st.dictionaries(st.text(max_size=4), VALUES, max_size=4), indent=st.sampled_from([None, 1]))
def test_fields_are_those_of_a_decoder(record: dict[str, object], indent: int | None) -> None:
    """For valid JSON, names and values are what decoding the whole finds."""
    found = cut_fields(json.dumps(record, indent=indent).encode()) or {}
    assert {name: json.loads(value) for name, value in found.items()} == record


@pytest.mark.parametrize("raw", [b"null", b"17", b'"{}"', b"[{}]", b""])
def test_what_is_no_object_has_no_fields(raw: bytes) -> None:
    """Only an object has fields; of one with garbage, what is a name and a value is a field."""
    assert cut_fields(raw) is None
    assert cut_fields(b'{odd: 1, "a":2, }') == {"a": b"2"}
    assert cut_fields(b'{"a":') == {}


def test_line_breaks_are_escaped_in_strings_only() -> None:
    """A line break between tokens is white space, one inside a string is content."""
    assert escape_line_breaks(b'{\n"a":\r\n"x\ny\\"\rz"}') == b'{ "a":  "x\\ny\\"\\rz"}'
