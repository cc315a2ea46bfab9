"""The generated parts of the pages are current, and the site's helper functions work."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.architecture.source_files import PROJECT
from tools import docs_hooks, generated_docs, layer_picture
from tools.docstring_markdown import to_markdown

PAGES = generated_docs.pages()
REMEDY = "Run: python -m tools.generated_docs"
GRAPH = {
    "top": frozenset({"middle", "bottom"}),
    "middle": frozenset({"bottom"}),
    "aside": frozenset({"bottom"}),
    "bottom": frozenset[str](),
}


@pytest.mark.integration
@pytest.mark.parametrize("page", PAGES, ids=[page.relative_to(PROJECT).as_posix() for page in PAGES])
def test_generated_block_is_up_to_date(page: Path) -> None:
    """The page has the current lock files, help texts and misbehaviours."""
    text = page.read_text(encoding="utf-8")
    assert generated_docs.written(text).split() == text.split(), REMEDY


@pytest.mark.integration
def test_help_is_wrapped_alike_for_every_interpreter() -> None:
    """The help's lines are as long as for an interpreter called ``python``, wherever this one is installed."""
    usage = "usage: python -m airflow_audit_provider.testing "
    first, second, *_ = generated_docs.testing_help().splitlines()[1:]
    assert first.startswith(usage + "[-h]")
    assert second.startswith(" " * len(usage) + "[")


def test_schema_of_the_report_is_up_to_date() -> None:
    """The published JSON Schema is that of today's report."""
    assert generated_docs.REPORT_SCHEMA.read_text(encoding="utf-8") == generated_docs.report_schema(), REMEDY


def test_schemas_of_results_are_up_to_date() -> None:
    """The published JSON Schemas of seal, sweep, pull and load are those of today."""
    schemas = generated_docs.result_schemas()
    assert len(schemas) == 4
    for path, schema in schemas.items():
        assert path.read_text(encoding="utf-8") == schema, REMEDY


def test_schema_of_the_plan_is_up_to_date() -> None:
    """The published JSON Schema is that of today's plan."""
    assert generated_docs.PLAN_SCHEMA.read_text(encoding="utf-8") == generated_docs.plan_schema(), REMEDY


def test_schema_of_coverage_is_up_to_date() -> None:
    """The published JSON Schema is that of today's coverage."""
    assert generated_docs.COVERAGE_SCHEMA.read_text(encoding="utf-8") == generated_docs.coverage_schema(), REMEDY


def test_schema_of_freshness_is_up_to_date() -> None:
    """The published JSON Schema is that of today's result of freshness."""
    assert generated_docs.FRESHNESS_SCHEMA.read_text(encoding="utf-8") == generated_docs.freshness_schema(), REMEDY


def test_schema_of_reconcile_is_up_to_date() -> None:
    """The published JSON Schema is that of today's result of reconcile."""
    assert generated_docs.RECONCILE_SCHEMA.read_text(encoding="utf-8") == generated_docs.reconcile_schema(), REMEDY


def test_schema_of_report_is_that_of_its_type() -> None:
    """The JSON Schema of ``report --json`` describes what the code prints."""
    found = generated_docs.WRITTEN_REPORT_SCHEMA.read_text(encoding="utf-8")
    assert found == generated_docs.written_report_schema(), REMEDY


def test_every_generator_has_a_page() -> None:
    """Each generator has a page with its block."""
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert all(f"<!-- generated: {name} -->" in text for name in generated_docs.BLOCKS)


@pytest.mark.integration
def test_layer_picture_is_up_to_date() -> None:
    """The picture on the architecture page shows the current imports."""
    drawn = layer_picture.picture(layer_picture.import_graph())
    assert layer_picture.PICTURE.read_text(encoding="utf-8") == drawn, REMEDY


def test_layers_and_arrows_come_from_the_graph() -> None:
    """A module is above what it imports, and an arrow that follows from two others is omitted."""
    assert layer_picture.rows_of(GRAPH) == [["bottom"], ["aside", "middle"], ["top"]]
    assert layer_picture.reduced(GRAPH) == [("aside", "bottom"), ("middle", "bottom"), ("top", "middle")]
    assert layer_picture.picture(GRAPH).count("<rect") == len(GRAPH)


def test_missing_package_in_a_lock_is_an_error() -> None:
    """A package that a lock lacks is an error, not an empty cell."""
    with pytest.raises(LookupError, match=r"test\.txt has no nothing-of-this-name"):
        generated_docs.pinned("test.txt", "nothing-of-this-name")


def test_navigation_pattern_stands_for_pages_not_named(tmp_path: Path) -> None:
    """A pattern is replaced by the matching pages without an entry of their own, if there are any."""
    (tmp_path / "adr").mkdir()
    for name in ("index", "0001-a", "0002-b"):
        (tmp_path / "adr" / f"{name}.md").touch()
    nav = [{"Decisions": ["adr/index.md", {"First": "adr/0001-a.md"}, "adr/*.md"]}, "troubleshooting*.md"]
    expanded = docs_hooks.expanded(nav, tmp_path, {"adr/index.md", "adr/0001-a.md"})
    assert expanded == [{"Decisions": ["adr/index.md", {"First": "adr/0001-a.md"}, "adr/0002-b.md"]}]


def test_what_a_page_loads_from_elsewhere_is_found() -> None:
    """Scripts, pictures and style sheets of other hosts are found, but not links."""
    page = (
        '<link rel="stylesheet" href="assets/a.css"><link href="https://x.org/b.css" rel="stylesheet">'
        '<script src="//x.org/c.js"></script><img alt="d" src="https://x.org/d.png"><a href="https://x.org/">e</a>'
        '<link rel="canonical" href="https://x.org/f">'
    )
    assert docs_hooks.loaded_from_elsewhere(page) == ["https://x.org/b.css", "//x.org/c.js", "https://x.org/d.png"]


def test_docstring_becomes_markdown() -> None:
    """Roles become code, a literal block keeps a colon, and text after the arguments is moved before them."""
    text = "Reads.\n\nTree::\n\n    a\n\n:param x: see :meth:`~A.b`,\n    twice.\n:param y: no.\n\nReturns a dict."
    assert to_markdown(text) == (
        "Reads.\n\nTree:\n\n    a\n\nReturns a dict.\n\n:param x: see `A.b`,\n    twice.\n:param y: no."
    )
