"""A plan's estimates are within 20 % of what the pulls of the same windows then need, for five shapes of history."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_audit_provider.adapters.storage.local_store import LocalStore
from airflow_audit_provider.core.api.query import audit_query
from airflow_audit_provider.pipelines.plan import PlanRequest, plan_backfill
from airflow_audit_provider.pipelines.plan_report import Plan
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.settings import ACCOUNT_ID
from tests.pipelines.plan.histories import NOW, History, Pulled, build, pull_all
from tests.pipelines.pull.landing import reader_of

TOLERANCE = 0.2
SHORT = (
    History("even", 40, 700),
    History("rhythm", 40, 1300),
    History("bursts", 60, 900),
    History("growing", 60, 700),
    History("almost empty", 90, 0.5),
    History("rhythm", 14, 6000, "v2"),
    History("almost empty", 90, 0.5, "v2"),
)
LONG = (
    History("even", 540, 500),
    History("rhythm", 540, 500),
    History("bursts", 540, 500),
    History("growing", 540, 500),
    History("almost empty", 540, 0.5),
    History("rhythm", 35, 8000),
    History("bursts", 120, 2500, "v2"),
    History("growing", 120, 2500, "v2"),
)


def planned_and_pulled(history: History, folder: Path) -> tuple[Plan, Pulled]:
    """Returns the plan of a history and what its pulls need."""
    clock = ManualClock(NOW)
    fake, store = build(history, clock), LocalStore(str(folder))
    reader, query = reader_of(fake, clock), audit_query(history.version, None, account_id=ACCOUNT_ID)
    plan = plan_backfill(store, reader, PlanRequest(query, history.start, history.end))
    assert plan.sampling.request_count == len(fake.requests)
    return plan, pull_all(history, reader, fake, store)


def check_accuracy(history: History, folder: Path) -> None:
    """Compares records, requests and bytes; a size of some kilobytes is not worth a comparison."""
    plan, pulled = planned_and_pulled(history, folder)
    size_bytes = next(one.size_bytes for one in plan.forms if (one.file_format, one.schema) == ("jsonl", "raw"))
    ratios = {
        "records": plan.need.record_count / pulled.record_count,
        "requests": plan.need.request_count / pulled.request_count,
        "bytes": size_bytes / pulled.size_bytes if pulled.size_bytes > 100_000 else 1.0,
    }
    print(history, plan.sampling, ratios)
    assert all(abs(ratio - 1) <= TOLERANCE for ratio in ratios.values()), ratios
    assert plan.sampling.request_count <= 30


@pytest.mark.integration
@pytest.mark.parametrize("history", SHORT, ids=str)
def test_plan_of_some_weeks_is_within_a_fifth_of_the_pulls(history: History, tmp_path: Path) -> None:
    """Some weeks of each shape need what their plan says, within a fifth."""
    check_accuracy(history, tmp_path)


@pytest.mark.nightly
@pytest.mark.parametrize("history", LONG, ids=str)
def test_plan_of_eighteen_months_is_within_a_fifth_of_the_pulls(history: History, tmp_path: Path) -> None:
    """Eighteen months of each shape need what their plan says, within a fifth."""
    check_accuracy(history, tmp_path)
