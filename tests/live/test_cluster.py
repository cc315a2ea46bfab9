"""Celery workers that share nothing but a bucket land a backfill whole, even if one of them is lost with its disk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import store_from_uri
from airflow_audit_provider.pipelines.verify import verify
from harness.landed import landed_windows, part_lines
from tests.live.calendar_days import days_ago
from tests.live.cluster import DAG_ID, PATIENCE_SECONDS, Cluster, start_cluster

FIRST_WORKER, SECOND_WORKER = "worker-1", "worker-2"
FAKE_OPTIONS = ("--records-per-day", "2500", "--even-days", "--gzip")
DAY_COUNT = 6
FIRST, LAST = days_ago(DAY_COUNT + 1), days_ago(2)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with two workers."""
    folder = tmp_path_factory.mktemp("cluster")
    with start_cluster(folder, FAKE_OPTIONS, (FIRST_WORKER, SECOND_WORKER)) as running:
        yield running


def test_backfill_survives_the_loss_of_a_worker(cluster: Cluster) -> None:
    """Each day is verified and has exactly the source's ids, although a worker and its disk are lost half-way."""
    live = cluster.live
    cluster.settle_at(datetime.now(UTC))
    live.account.misbehave("slow=3000")
    live.unpause(DAG_ID)
    live.backfill(DAG_ID, FIRST, LAST, max_active_runs=DAY_COUNT)
    lost = lose_worker_while_it_lands(cluster, SECOND_WORKER)
    live.account.misbehave()
    runs = live.await_runs(DAG_ID, DAY_COUNT, PATIENCE_SECONDS)
    assert [run["state"] for run in runs] == ["success"] * DAY_COUNT
    assert all(live.tasks(DAG_ID, run_id)[0]["try_number"] > 1 for run_id in lost), "no task was repeated"
    everything_is_there(cluster)
    nothing_else_is_shared(cluster)


def lose_worker_while_it_lands(cluster: Cluster, name: str) -> set[str]:
    """Kills a worker and removes its disk between a window's first records and its commit; returns the runs it had."""
    landing: set[str] = set()

    def found() -> bool:
        landing.update(cluster.landing(name))
        return bool(landing)

    cluster.wait(found, f"{name} to read the records of a day")
    cluster.kill(name)
    return landing


def everything_is_there(cluster: Cluster) -> None:
    """Compares the landed records with the account: by the provider's own verify, and by reading the files."""
    destination = cluster.download()
    report = verify(store_from_uri(destination.as_uri()))
    assert (report.summary()["window_count"], list(report.findings)) == (DAY_COUNT, [])
    windows = landed_windows(destination)
    days = [FIRST + timedelta(days=count) for count in range(DAY_COUNT)]
    assert [datetime.fromisoformat(window.start) for window in windows] == days
    for day, window in zip(days, windows, strict=True):
        ids = [json.loads(line)["id"] for part in window.parts for line in part_lines(part)]
        assert ids == cluster.live.truth_ids(day, day + timedelta(days=1)), window.day
        assert ids, "the fake has no record that day"


def nothing_else_is_shared(cluster: Cluster) -> None:
    """Checks that no machine has a file of the dataset or of the budget, and that the budget is on the server."""
    assert cluster.budgets() == 1
    for machine in cluster.machines.by_name.values():
        names = {path.name for path in machine.folder.rglob("*")}
        assert "attempt=1.log" in names, f"{machine.name} ran no task"
        assert not {"_manifests", "_staging", "cloudflare_audit_logs_budget"} & names
