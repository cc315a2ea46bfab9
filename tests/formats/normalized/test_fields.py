"""Reads one field of many rows."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.formats.documented_fields import RECORD_FIELDS
from airflow_audit_provider.formats.normalized.columns import COLUMNS
from airflow_audit_provider.formats.normalized.decode import _SPELLED_OUT, values_of

# Id and time are read elsewhere, so the normalized table has no path to them.
HEADS = {"id", "when", "action.time"}
PATHS = {version: {path for path, _ in RECORD_FIELDS[version]} - HEADS for version in ApiVersion}
NAMES = sorted({name for paths in PATHS.values() for path in paths for name in path.split(".")})


@pytest.mark.parametrize("name", [*NAMES, "of_a_later_version"])
def test_a_field_is_read_by_its_name(name: str) -> None:
    """Every name gives the field of that name in the order of the rows."""
    rows = [SimpleNamespace(**{other: f"{other} {number}" for other in [*NAMES, name]}) for number in range(3)]
    assert values_of(rows, name) == [f"{name} {number}" for number in range(3)]


def test_a_nested_field_is_read_by_its_path() -> None:
    """A dotted name is a path."""
    assert values_of([SimpleNamespace(a=SimpleNamespace(b=1))], "a.b") == [1]


def test_every_column_has_a_fast_path() -> None:
    """The fast path covers each field from which a column is made, and no other field."""
    assert set(NAMES) == set(_SPELLED_OUT)


@pytest.mark.parametrize("version", ApiVersion)
def test_every_documented_field_has_a_column(version: ApiVersion) -> None:
    """The normalized table has every documented field of a record, and only these and parts of metadata."""
    taken = {path for column in COLUMNS for path in column.path(version).split("|") if path} - HEADS
    assert {path for path in taken if not path.startswith(("metadata.", "resource[zone]"))} == PATHS[version]
