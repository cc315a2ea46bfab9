"""The answers in the pages are the results of the example's queries."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.architecture.source_files import PROJECT
from tests.docs import answers
from tests.pipelines.load.warehouses import new_target

PAGE = PROJECT / "docs" / "warehouses" / "questions.md"


@pytest.mark.integration
def test_page_shows_what_the_questions_answer() -> None:
    """The page has each question with its SQL and the bars that `python -m tests.docs.answers` prints."""
    page = PAGE.read_text(encoding="utf-8")
    shown = list(answers.blocks())
    assert len(shown) == 4
    for question, query, answer in shown:
        assert answer.count("\n") >= 0
        assert f"## {question}\n\n```sql\n{query}\n```\n\n```text\n{answer}\n```" in page


@pytest.mark.integration
def test_questions_run_on_postgresql(tmp_path: Path, postgres: dict[str, object]) -> None:
    """The same SQL runs on PostgreSQL."""
    target = new_target("psycopg", tmp_path, lambda: postgres)._replace(table="cloudflare_audit_logs")
    target.load(answers.landed(tmp_path), "fake")
    target.query("alter role audit set timezone = 'UTC'")
    found = {question: target.query(query) for question, query in answers.QUESTIONS.items()}
    assert found == answers.answers(answers.loaded(tmp_path))
    target.drop()
