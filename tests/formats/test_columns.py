"""Columns: what fits stands there, what does not is null there, and no neighbour changes it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_audit_provider.core.api.records import ApiVersion, lines_of
from airflow_audit_provider.formats.columns import COLUMNS, Kind, column_values
from tests.formats.odd_records import V1, V2, VALUES, WHEN, odd_raws, raw_of, records_of
from tests.hypothesis_profiles import examples


def cells_of(version: ApiVersion, *raws: bytes) -> list[dict[str, Any]]:
    """Return a mapping of column names to values for each record."""
    names = [column.name for column in COLUMNS[version]]
    records = records_of(version, *raws)
    columns = column_values(version, records, lines_of(records))
    rows = zip(*([_text(value) for value in column] for column in columns), strict=True)
    return [dict(zip(names, row, strict=True)) for row in rows]


def _text(value: Any) -> Any:
    """Return a cell as a reader of the file sees it: text may be handed over as UTF-8."""
    return value.decode() if isinstance(value, bytes) else value


TEXT = {
    "null": None, "true": "true", "number": "17", "fraction": "1.10", "empty": "", "text": "plain",
    "null as text": "null", "number as text": "0017", "lines": "one\ntwo\r\nthree\rfour", "zero": "a\0b",
    "accents": "Zoë 😀", "pair": "😀", "half": "cut ?", "object": '{"a": {"b": "c,d"}, "e": []}',
    "list": '[1, null, "x\\ny", {"a": 1}]', "huge": "123456789012345678901234567890",
}  # fmt: skip


@pytest.mark.parametrize(("name", "expected"), TEXT.items())
def test_a_text_column_takes_text_and_shows_the_rest_as_json(name: str, expected: str | None) -> None:
    """Text stands as it is, anything else as its own JSON, null as nothing."""
    raws = odd_raws(V1)
    assert cells_of(V1, raws[f"actor.email {name}"])[0]["actor_email"] == expected
    assert cells_of(V1, raws[f"interface {name}"])[0]["interface"] == expected
    if name != "half":
        assert cells_of(V1, raws[f"metadata {name}"])[0]["metadata"] == expected


@pytest.mark.parametrize("name", VALUES)
def test_a_typed_column_takes_its_type_and_nothing_else(name: str) -> None:
    """What is no boolean or no whole number of 64 bits is null in its column."""
    flags = {"true": True}
    numbers = {"number": 17, "minus": -17, "largest": 2**63 - 1, "smallest": -(2**63)}
    assert cells_of(V1, odd_raws(V1)[f"action.result {name}"])[0]["action_result"] == flags.get(name)
    if name not in ("whole fraction", "power"):
        assert cells_of(V2, odd_raws(V2)[f"raw.status_code {name}"])[0]["raw_status_code"] == numbers.get(name)


@pytest.mark.parametrize("version", [V1, V2])
def test_a_group_of_another_shape_leaves_its_columns_empty(version: ApiVersion) -> None:
    """Where an object is expected and something else stands, its columns are null and the others are not."""
    for name in VALUES:
        if name.startswith(("object", "empty object")):
            continue
        (cells,) = cells_of(version, odd_raws(version)[f"actor {name}"])
        assert {value for key, value in cells.items() if key.startswith("actor_")} == {None}


@pytest.mark.parametrize("version", [V1, V2])
def test_a_neighbour_does_not_change_a_records_cells(version: ApiVersion) -> None:
    """A record has the same cells alone, among plain records and among odd ones."""
    plain = raw_of(version, "plain", actor={"email": "a@b.c"}, resource={"scope": {"a": [1, 2]}}, metadata={"x": "é"})
    odd = odd_raws(version)["actor.email object"]
    (alone,) = cells_of(version, plain)
    assert cells_of(version, plain, plain)[1] == alone
    assert cells_of(version, odd, plain)[1] == alone
    for name, raw in odd_raws(version).items():
        if not name.endswith(("whole fraction", "power")):
            assert cells_of(version, raw)[0] == cells_of(version, raw, odd)[0], name


def test_no_records_have_no_values() -> None:
    """An empty group has its columns, all empty."""
    assert column_values(V1, [], b"") == [[]] * len(COLUMNS[V1])


@pytest.mark.parametrize("version", [V1, V2])
def test_columns_have_names_of_their_own(version: ApiVersion) -> None:
    """No name comes twice, none is one of the three fixed columns, and one column is not text."""
    names = [column.name for column in COLUMNS[version]]
    assert len(set(names)) == len(names)
    assert not {"id", "event_time", "record"} & set(names)
    assert sum(column.kind in (Kind.BOOLEAN, Kind.INTEGER) for column in COLUMNS[version]) == 1


TEXTS = st.sampled_from([None, "", "null", "0017", "é😀", "a\0b", 'a "b"\\\n', "x" * 300])
ANYTHING = st.recursive(
    TEXTS | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
FITTING = {
    Kind.TEXT: TEXTS,
    Kind.JSON: ANYTHING,
    Kind.BOOLEAN: st.none() | st.booleans(),
    Kind.INTEGER: st.none() | st.integers() | st.sampled_from([200.0, -0.0, 2e2, 1e300, 9.3e18, 2**63 - 1, -(2**63)]),
}


@st.composite
def fitting_raws(draw: st.DrawFn, version: ApiVersion) -> bytes:
    """Return a record whose fields have their documented types, or are null, missing, twice there or unknown."""
    pairs: list[tuple[str, str]] = [("id", '"x"'), *([("when", f'"{WHEN}"')] if version is V1 else [])]
    groups: dict[str, list[str]] = {} if version is V1 else {"action": [f'"time":"{WHEN}"']}
    for column in draw(st.lists(st.sampled_from(COLUMNS[version]), max_size=30)):
        value = json.dumps(draw(FITTING[column.kind]), ensure_ascii=draw(st.booleans()))
        if len(column.path) == 1:
            pairs.append((column.name, value))
        else:
            groups.setdefault(column.path[0], []).append(f'"{column.path[1]}":{value}')
    pairs += [(name, "{" + ",".join(members) + "}") for name, members in groups.items()]
    pairs += [("x", json.dumps(draw(ANYTHING))) for _ in range(draw(st.integers(0, 2)))]
    separator = draw(st.sampled_from([",", " , "]))
    return ("{" + separator.join(f'"{name}":{value}' for name, value in pairs) + "}").encode()


@pytest.mark.parametrize("version", [V1, V2])
@examples(60)
@given(drawn=st.data())
def test_the_quick_way_gives_what_the_careful_way_gives(version: ApiVersion, drawn: st.DataObject) -> None:
    """A group of plain records has the cells that each has beside a record that sends all of them the slow way."""
    raws = drawn.draw(st.lists(fitting_raws(version), min_size=1, max_size=5))
    odd = odd_raws(version)["actor.email object"]
    assert cells_of(version, *raws) == cells_of(version, *raws, odd)[:-1]
