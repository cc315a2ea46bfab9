"""The command that prints the oldest day prints one that the provider accepts."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta

import pytest

from airflow_audit_provider.core.windows.readiness import whole_windows_start_at
from tests.architecture.source_files import PROJECT

PAGES = ["README.md", "docs/how-to/backfill-history.md"]


def _commands(page: str) -> list[str]:
    """Returns the Python one-liners of a page that print a day."""
    text = (PROJECT / page).read_text(encoding="utf-8")
    return re.findall(r"^\$ python3 -c \"(.*)\"$", text, re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_oldest_day_is_printed(page: str) -> None:
    """The page's command prints today minus 540 days."""
    (code,) = _commands(page)
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    printed = date.fromisoformat(answer.stdout.strip())
    # The command takes the day of the local time zone, at most one away from that of UTC.
    assert abs((datetime.now(UTC).date() - printed).days - 540) <= 1


def test_day_540_days_ago_is_always_kept() -> None:
    """On any day of four years, a window that starts 541 days before is young enough."""
    days = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=number) for number in range(4 * 366)]
    assert all(whole_windows_start_at(day) <= day - timedelta(days=541) for day in days)
    assert not all(whole_windows_start_at(day) <= day - timedelta(days=544) for day in days)
