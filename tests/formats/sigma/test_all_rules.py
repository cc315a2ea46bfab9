"""All rules over months of the fake's log, as a back-test runs them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from airflow_audit_provider.core.api.records import ApiVersion, read_records
from airflow_audit_provider.formats.sigma.matching import Match, find_matches, normalized_rows
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.settings import Settings
from tests.formats.sigma.rule_cases import bundled_rules

END = datetime(2026, 11, 1, tzinfo=UTC)
RULES = bundled_rules()


def _rows(version: ApiVersion, days: int, per_day: int) -> Any:
    """Returns the fake's records of some days as one table."""
    fake = FakeCloudflare(lambda: END + timedelta(days=1), Settings(records_per_day=per_day))
    starts = [END - timedelta(days=day) for day in range(days, 0, -1)]
    truths = (fake.truth(str(version), None, start, start + timedelta(days=1)) for start in starts)
    days_of_raws = ([row.raw for row in truth] for truth in truths)
    return pa.concat_tables([normalized_rows(version, read_records(version, raws)) for raws in days_of_raws if raws])


def _in_windows(rows: Any, days: int, step: timedelta) -> list[Match]:
    """Evaluates each window with the history that the rules need before it."""
    history = max(rule.needs_history for rule in RULES)
    found: list[Match] = []
    start = END - timedelta(days=days)
    while start < END:
        times = rows["event_time"]
        mask = pc.and_(
            pc.greater_equal(times, pa.scalar(start - history, times.type)),
            pc.less(times, pa.scalar(start + step, times.type)),
        )
        found += find_matches(RULES, rows.filter(mask), since=start)
        start += step
    return found


def _keys(matches: Sequence[Match]) -> list[tuple[str, str]]:
    return sorted((match.rule.id, match.record_id) for match in matches)


@pytest.mark.parametrize(
    ("days", "per_day"), [(4, 40), pytest.param(540, 500, marks=[pytest.mark.nightly, pytest.mark.integration])]
)
@pytest.mark.parametrize("version", list(ApiVersion))
def test_windows_change_no_answer(version: ApiVersion, days: int, per_day: int) -> None:
    """Rules that are run window by window fire for the same records as rules that are run on all of them at once."""
    rows = _rows(version, days, per_day)
    at_once = find_matches(RULES, rows)
    assert _keys(_in_windows(rows, days, timedelta(days=2 if days < 100 else 30))) == _keys(at_once)
    counts = Counter(match.rule.path.stem for match in at_once)
    print(f"{version}: {rows.num_rows} records of {days} days: {dict(counts.most_common())}")
    assert len(counts) >= 3
