"""Records with documented types are decoded as a group, all others field by field: both have the same result."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_audit_provider.core.api.records import ApiVersion, lines_of
from airflow_audit_provider.core.warehouse.port import ColumnType
from airflow_audit_provider.formats.documented_fields import RECORD_FIELDS
from airflow_audit_provider.formats.normalized.decode import _lenient_table, normalize
from tests.formats.odd_records import V1, V2, WHEN, odd_raws, records_of

TEXTS = st.sampled_from([None, "", "null", "0017", "é😀", "a\0b", 'a "b"\\\n', "x" * 300, '{"a": 1}', "[1"])
ANYTHING = st.recursive(
    TEXTS | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
FITTING = {
    ColumnType.TEXT: TEXTS,
    ColumnType.JSON: ANYTHING,
    ColumnType.BOOLEAN: st.none() | st.booleans(),
    ColumnType.INTEGER: st.none() | st.integers() | st.sampled_from([2**63 - 1, -(2**63)]),
}
# A value of a documented type that no column takes unchanged.
OUTCOMES = st.sampled_from([None, "success", "failure", "", "unknown"])


@st.composite
def fitting_raws(draw: st.DrawFn, version: ApiVersion) -> bytes:
    """A record whose fields have their documented types, or are null, missing, twice there or unknown."""
    pairs: list[tuple[str, str]] = [("id", '"x"'), *([("when", f'"{WHEN}"')] if version is V1 else [])]
    groups: dict[str, list[str]] = {} if version is V1 else {"action": [f'"time":"{WHEN}"']}
    fields = [(path, kind) for path, kind in RECORD_FIELDS[version] if path not in ("id", "when", "action.time")]
    for path, kind in draw(st.lists(st.sampled_from(fields), max_size=30)):
        values = OUTCOMES if (version, path) == (V2, "action.result") else FITTING[kind]
        value = json.dumps(draw(values), ensure_ascii=draw(st.booleans()))
        group, _, name = path.rpartition(".")
        if group:
            groups.setdefault(group, []).append(f'"{name}":{value}')
        else:
            pairs.append((name, value))
    pairs += [(name, "{" + ",".join(members) + "}") for name, members in groups.items()]
    pairs += [("x", json.dumps(draw(ANYTHING))) for _ in range(draw(st.integers(0, 2)))]
    separator = draw(st.sampled_from([",", " , "]))
    return ("{" + separator.join(f'"{name}":{value}' for name, value in pairs) + "}").encode()


def table_of(version: ApiVersion, raws: list[bytes]) -> tuple[dict[str, list[Any]], Counter[str]]:
    """The columns of records as text, and what did not fit."""
    records, type_mismatches = records_of(version, *raws), Counter[str]()
    table = normalize(version, records, lines_of(records), type_mismatches)
    return {name: [_text(value) for value in values] for name, values in table.items()}, type_mismatches


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


@pytest.mark.integration
@pytest.mark.parametrize("version", [V1, V2])
@settings(max_examples=60, deadline=None)
@given(drawn=st.data())
def test_group_has_the_values_of_its_fields_one_by_one(version: ApiVersion, drawn: st.DataObject) -> None:
    """A group has the columns that its records have field by field, also beside a record of other types."""
    raws = drawn.draw(st.lists(fitting_raws(version), min_size=1, max_size=5))
    odd = odd_raws(version)["actor.email object"]
    together, together_mismatches = table_of(version, raws)
    beside, beside_mismatches = table_of(version, [*raws, odd])
    careful_mismatches = Counter[str]()
    careful = [_lenient_table(version, raw, careful_mismatches) for raw in raws]
    assert {name: values[:-1] for name, values in beside.items()} == together
    assert {name: [_text(table[name][0]) for table in careful] for name in together} == together
    assert together_mismatches == careful_mismatches == beside_mismatches - Counter(["actor_email"])
