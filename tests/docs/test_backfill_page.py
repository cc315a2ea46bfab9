"""The command that prints the oldest day prints one that the provider accepts."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

import pytest

from airflow_audit_provider.cli.__main__ import main
from airflow_audit_provider.core.windows.readiness import check_window_readable
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import RetentionExceededError
from tests.architecture.source_files import PROJECT
from tests.docs.blocks import commands_of

DAY = timedelta(days=1)


@pytest.mark.parametrize("page", ["README.md", "docs/how-to/backfill-history.md"])
def test_page_about_a_backfill_names_the_command(page: str) -> None:
    """The page has the command that prints the first day of a backfill."""
    assert "airflow-audit-provider oldest-day" in commands_of((PROJECT / page).read_text(encoding="utf-8"))


def test_oldest_day_is_the_first_that_a_pull_accepts(capsys: pytest.CaptureFixture[str]) -> None:
    """A window of the printed UTC day can be read, and one of the day before cannot."""
    now = datetime.now(UTC)
    assert main(["oldest-day"]) == 0
    start = datetime.combine(date.fromisoformat(capsys.readouterr().out.strip()), time(), UTC)
    check_window_readable(TimeWindow(start, start + DAY), now, timedelta(0))
    with pytest.raises(RetentionExceededError):
        check_window_readable(TimeWindow(start - DAY, start), now, timedelta(0))
