"""The schemas page has the code's own columns, and names every attribute of an OCSF event."""

from __future__ import annotations

import pytest

from airflow_audit_provider.core.privacy.rule import KINDS, RULE_VERSION
from airflow_audit_provider.formats.normalized import columns as normalized
from airflow_audit_provider.formats.normalized.columns import COLUMNS, TableColumn
from airflow_audit_provider.formats.ocsf import mapping as ocsf
from airflow_audit_provider.formats.ocsf.classes import RELEASES
from tests.architecture.source_files import PROJECT

REFERENCE = PROJECT / "docs" / "reference"
PAGE = (REFERENCE / "schemas.md").read_text(encoding="utf-8")
PRIVACY_PAGE = (REFERENCE / "privacy.md").read_text(encoding="utf-8")


def row_of(column: TableColumn) -> str:
    """Returns the page's row for a column."""
    paths = [" or ".join(f"`{path}`" for path in text.split("|")) if text else "" for text in (column.v1, column.v2)]
    null = "" if column.nullable else ", never null"
    cells = [f"`{column.name}`", f"{column.type}{null}", *paths, column.meaning]
    return f"| {' | '.join(cells)} |"


@pytest.mark.parametrize("column", COLUMNS, ids=[column.name for column in COLUMNS])
def test_each_column_is_on_the_page(column: TableColumn) -> None:
    """The page has each column's name, type, paths and meaning as the code defines them."""
    assert row_of(column) in PAGE.splitlines()


def test_the_page_has_no_other_column() -> None:
    """The table has exactly the columns of the code, in their order."""
    lines = [line for line in PAGE.splitlines() if line in set(map(row_of, COLUMNS))]
    assert lines == list(map(row_of, COLUMNS))
    assert f"Version {normalized.MAJOR}.{normalized.MINOR}" in PAGE


def _leaves(kind: object, path: str) -> list[str]:
    if isinstance(kind, dict):
        return [leaf for name, inner in kind.items() for leaf in _leaves(inner, f"{path}.{name}" if path else name)]
    return _leaves(kind[0], f"{path}[]") if isinstance(kind, list) else [path]


@pytest.mark.parametrize("path", [path for path in _leaves(ocsf.ATTRIBUTES, "") if "." in path])
def test_each_attribute_of_an_event_is_on_the_page(path: str) -> None:
    """The page names every nested attribute that an event can have, by its path."""
    assert f"`{path}`" in PAGE


def test_the_page_says_which_ocsf_and_which_rule() -> None:
    """The pages state the versions of the code, and its kinds of pseudonyms."""
    assert all(f"OCSF {release.version}" in PAGE for release in RELEASES.values())
    assert f"version {ocsf.MAJOR}.{ocsf.MINOR} of this mapping" in PAGE
    assert f"version {RULE_VERSION}" in PRIVACY_PAGE
    assert all(f"`{kind}`" in PRIVACY_PAGE for kind in KINDS)
