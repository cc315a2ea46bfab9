"""Tests that no manual run of an example succeeds without running a task."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.architecture.source_files import PROJECT

EXAMPLES = sorted((PROJECT / "dags").glob("*.py"))
SETTING = "START_DATE"


def _dags(source: str) -> list[dict[str, str]]:
    """Returns the keyword arguments of each DAG in a file, as source text."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [
        {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords if keyword.arg}
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id == "DAG"
    ]


def _fixed_start_dates(source: str) -> list[str]:
    """Returns the ids of DAGs with a start date that no setting can change."""
    return [dag["dag_id"] for dag in _dags(source) if SETTING not in dag.get("start_date", SETTING)]


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_no_example_has_a_fixed_start_date(path: Path) -> None:
    """A start date is a setting or absent, because Airflow marks a manual run before it successful without a task."""
    source = path.read_text(encoding="utf-8")
    assert _dags(source)
    assert _fixed_start_dates(source) == []


def test_a_fixed_start_date_is_found() -> None:
    """A DAG with a start date written in its file is found."""
    assert _fixed_start_dates('DAG(dag_id="a", start_date=datetime(2026, 11, 1, tzinfo=UTC))') == ["'a'"]


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_an_example_with_a_start_date_documents_it(path: Path) -> None:
    """An example with a start date lists it among its settings, and the daily one explains earlier runs."""
    source = path.read_text(encoding="utf-8")
    text = ast.get_docstring(ast.parse(source)) or ""
    if any("start_date" in dag for dag in _dags(source)):
        assert SETTING in text
    if path.stem == "cloudflare_audit_daily":
        assert "creates no task for a manual run before this date" in " ".join(text.split())
