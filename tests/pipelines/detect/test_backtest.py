"""A back-test over a long history counts every alert, in bounded memory."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from airflow_audit_provider.core.warehouse.backtest_report import backtest_report, backtest_text
from airflow_audit_provider.pipelines.backtest import backtest
from airflow_audit_provider.pipelines.sigma_rules import SIGMA, load_sigma_rules
from tests.pipelines.detect.sigma_place import DELETED, RULE
from tests.pipelines.history.generated import committed, windows
from tests.pipelines.verify.memory_store import MemoryStore

COUNTED = """
---
title: Many records
id: 00000000-0000-4000-8000-00000000000d
status: test
level: medium
correlation:
    type: event_count
    rules:
        - each
    group-by:
        - api_version
    timespan: 1d
    condition:
        gte: 2
"""


@pytest.mark.parametrize(
    ("day_count", "per_day"),
    [
        pytest.param(6, 20, marks=pytest.mark.integration),
        pytest.param(540, 1_000, marks=pytest.mark.nightly),
    ],
)
def test_backtest_counts_every_day_in_bounded_memory(tmp_path: Path, day_count: int, per_day: int) -> None:
    """A rule that matches every record counts each one, over any number of days, with a few of them in memory."""
    of = windows(day_count)
    store = MemoryStore(dict(committed(of, per_day)))
    each = RULE.format(title="Each", id=DELETED, level="low", action="null")
    (tmp_path / "each.yml").write_text(each.strip().replace("title: Each", "title: Each\nname: each") + COUNTED)
    (tmp_path / "other.yml").write_text(each.replace(DELETED, DELETED[:-1] + "9"))
    rules = load_sigma_rules([tmp_path])
    tracemalloc.start()
    found = backtest(store, rules, SIGMA, (None, None))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    report = backtest_report("memory", found.windows, found.record_count, list(found.tallies.values()))
    print(backtest_text(report))
    print(f"peak of Python's memory: {peak_bytes / 1e6:.1f} MB")
    by_title = {one.title: one for one in report.rules}
    assert by_title["Each"].alert_count == report.record_count == day_count * per_day
    assert by_title["Each"].alerts_per_day == per_day
    assert by_title["Many records"].alert_count == 1
    assert peak_bytes < 30e6 + per_day * 10e3
