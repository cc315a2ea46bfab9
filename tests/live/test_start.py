"""The harness starts each of the four versions, and each of them runs a task."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.live.live_airflow import LiveAirflow
from tests.live.telemetry_receivers import Statsd

COUNTERS = ("fetch.records", "stage.bytes", "commit.windows")


def test_given_window_lands(live: LiveAirflow, counted: Statsd) -> None:
    """A manually triggered run lands the given window, each record once, and its metrics agree."""
    end = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=2)
    start = end - timedelta(days=1)
    live.unpause("given_window")
    counted.lines.clear()
    run_id = live.trigger("given_window", conf={"start": start.isoformat(), "end": end.isoformat()})
    assert live.await_run("given_window", run_id) == "success", live.log(live.tasks("given_window", run_id)[0])
    (task,) = live.tasks("given_window", run_id)
    assert "explicit bounds" in live.log(task)
    summary = live.xcom("given_window", run_id, "land")
    assert summary["record_count"] == len(live.truth_ids(start, end)) > 0
    metrics = counted.metrics("airflow.cloudflare_audit_logs.")
    sums = {name: sum(metric.value for metric in metrics if metric.name == name) for name in COUNTERS}
    assert sums == {"fetch.records": summary["record_count"], "stage.bytes": summary["size_bytes"], "commit.windows": 1}
    timed = {metric.name: metric.tags for metric in metrics if metric.kind == "ms"}
    assert timed.keys() == {f"{verb}.duration" for verb in ("plan", "fetch", "encode", "stage", "commit")}
    tags = {"api_version": "v1", "scope": "account", "file_format": "jsonl", "state": "success"}
    assert all(found == tags for found in timed.values())


def test_no_file_has_an_import_error(live: LiveAirflow) -> None:
    """The DAG processor parses every example and every file of these tests without an error."""
    live.unpause("given_window")
    assert live.ask("importErrors")["import_errors"] == []


def test_dag_processor_imports_the_provider_before_it_forks(live: LiveAirflow) -> None:
    """The provider is imported before a file that does not import it is parsed, because Airflow loads the plugin."""
    live.unpause("imported_before")
    assert live.ask("dags/imported_before")["description"] == "before the fork"
    assert "cloudflare_audit_logs" in [plugin["name"] for plugin in live.ask("plugins")["plugins"]]
