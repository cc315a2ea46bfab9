"""One field of many rows."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from airflow_audit_provider.formats.columns import COLUMNS
from airflow_audit_provider.formats.normalized.decode import _SPELLED_OUT, values_of

NAMES = sorted({name for columns in COLUMNS.values() for column in columns for name in column.path})


@pytest.mark.parametrize("name", [*NAMES, "of_a_later_version"])
def test_a_field_is_read_by_its_name(name: str) -> None:
    """Every name gives the field of that name, in the rows' order, spelled out or not."""
    rows = [SimpleNamespace(**{other: f"{other} {number}" for other in [*NAMES, name]}) for number in range(3)]
    assert values_of(rows, name) == [f"{name} {number}" for number in range(3)]


def test_a_nested_field_is_read_by_its_path() -> None:
    """A dotted name is a path."""
    assert values_of([SimpleNamespace(a=SimpleNamespace(b=1))], "a.b") == [1]


def test_every_documented_field_is_spelled_out() -> None:
    """The fast way is there for each field that a column is made of, and for no other."""
    assert set(NAMES) == set(_SPELLED_OUT)
