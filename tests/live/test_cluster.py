"""Celery workers that share nothing but a bucket land a backfill whole, even if one of them is lost with its disk."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import store_from_uri
from airflow_audit_provider.pipelines.verify import verify
from harness.landed import landed_windows, part_lines
from tests.live.calendar_days import days_ago
from tests.live.cluster import DAG_ID, PATIENCE_SECONDS, Cluster, start_cluster

FIRST_WORKER, SECOND_WORKER = "worker-1", "worker-2"
FAKE_OPTIONS = ("--records-per-day", "2500", "--even-days", "--gzip")
DAYS = [days_ago(count) for count in range(7, 1, -1)]
SIXTY = [days_ago(count) for count in range(61, 1, -1)]
# The clock of the API runs ten times as fast: Cloudflare allows 1200 requests in five minutes and blocks for five.
BLOCK_SECONDS = 30
SCALED_OPTIONS = ("--records-per-day", "20000", "--even-days", "--gzip", "--requests-per-window", "12000")
SETTLED_IN, WAITING_COUNT = timedelta(seconds=40), 3


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with two workers."""
    folder = tmp_path_factory.mktemp("cluster")
    with start_cluster(folder, FAKE_OPTIONS, (FIRST_WORKER, SECOND_WORKER)) as running:
        yield running


@pytest.mark.nightly
def test_backfill_survives_the_loss_of_a_worker(cluster: Cluster) -> None:
    """Each day is verified and has exactly the source's ids, although a worker and its disk are lost half-way."""
    live = cluster.live
    cluster.settle_at(datetime.now(UTC))
    live.account.misbehave("slow=3000")
    live.unpause(DAG_ID)
    live.backfill(DAG_ID, DAYS[0], DAYS[-1], max_active_runs=len(DAYS))
    lost = lose_worker_while_it_lands(cluster, SECOND_WORKER)
    live.account.misbehave()
    runs = live.await_runs(DAG_ID, len(DAYS), PATIENCE_SECONDS)
    assert [run["state"] for run in runs] == ["success"] * len(DAYS)
    assert all(live.tasks(DAG_ID, run_id)[0]["try_number"] > 1 for run_id in lost), "no task was repeated"
    everything_is_there(cluster, DAYS)
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


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with two workers, and an API whose clock runs ten times as fast."""
    folder = tmp_path_factory.mktemp("history")
    with start_cluster(folder, SCALED_OPTIONS, (FIRST_WORKER, SECOND_WORKER)) as running:
        yield running


@pytest.mark.nightly
def test_sixty_days_survive_four_failures(history: Cluster) -> None:
    """Sixty days are verified with few requests asked twice, although triggerer, worker, broker and API fail."""
    cluster, live = history, history.live
    cluster.settle_at(datetime.now(UTC) + SETTLED_IN)
    live.unpause(DAG_ID)
    live.backfill(DAG_ID, SIXTY[0], SIXTY[-1], max_active_runs=8)
    lose_triggerer_while_days_wait(cluster)
    live.account.misbehave("slow=3000")
    lost = lose_worker_while_it_lands(cluster, SECOND_WORKER)
    live.account.misbehave()
    cluster.replace_worker("worker-3")
    cluster.wait(lambda: cluster.done() >= 15, "a quarter of the days")
    cluster.restart_broker(BLOCK_SECONDS / 10)
    cluster.wait(lambda: cluster.done() >= 30, "half of the days")
    live.account.misbehave(f"rate_limited={BLOCK_SECONDS}")
    time.sleep(BLOCK_SECONDS)
    live.account.misbehave()
    runs = live.await_runs(DAG_ID, len(SIXTY), PATIENCE_SECONDS)
    assert [run["state"] for run in runs] == ["success"] * len(SIXTY)
    assert all(live.tasks(DAG_ID, run_id)[0]["try_number"] > 1 for run_id in lost), "no task was repeated"
    few_requests_were_repeated(live.account.requests(), cluster.download())
    everything_is_there(cluster, SIXTY)
    nothing_else_is_shared(cluster)


def lose_triggerer_while_days_wait(cluster: Cluster) -> None:
    """Kills the triggerer while several days wait in it, and starts another on a new machine."""

    def enough_wait() -> bool:
        found = cluster.live.ask(f"dags/{DAG_ID}/dagRuns/~/taskInstances?limit=100&state=deferred")["task_instances"]
        if len(found) < WAITING_COUNT:
            # On a slow machine the first would be settled before the third has begun to wait.
            cluster.settle_at(datetime.now(UTC) + SETTLED_IN)
        return len(found) >= WAITING_COUNT

    cluster.wait(enough_wait, f"{WAITING_COUNT} days to wait in the triggerer")
    cluster.live.kill("triggerer")
    cluster.replace_triggerer("triggerer-2")


def few_requests_were_repeated(requests: list[dict[str, Any]], windows: Path) -> None:
    """Compares the requests, refused ones included, with those that the committed windows needed."""
    manifests = [json.loads(path.read_bytes()) for path in (windows / "_manifests").rglob("*.json")]
    costs = [manifest["fetch"] for manifest in manifests]
    needed = sum(cost["request_count"] - cost["retry_count"] for cost in costs)
    refused = sum(request["status"] != 200 for request in requests)
    print(f"{len(requests)} requests, {needed} needed, {refused} refused")
    assert refused > 0, "the block met no request"
    assert 0 < len(requests) - needed <= 0.03 * needed


def everything_is_there(cluster: Cluster, days: list[datetime]) -> None:
    """Compares the landed records with the account: by the provider's own verify, and by reading the files."""
    destination = cluster.download()
    report = verify(store_from_uri(destination.as_uri()))
    assert (report.summary()["window_count"], list(report.findings)) == (len(days), [])
    windows = landed_windows(destination)
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
        assert any(name.startswith("attempt=") for name in names), f"{machine.name} ran no task"
        assert not {"_manifests", "_staging", "cloudflare_audit_logs_budget"} & names
