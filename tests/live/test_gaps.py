"""A nightly run on a real Airflow fills gaps that were made on purpose, in the order in which they expire."""

from __future__ import annotations

import json
import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import store_from_uri
from airflow_audit_provider.core.archive.object_keys import COMMIT_LOG_FOLDER, read_log_key
from airflow_audit_provider.pipelines.verify import verify
from harness.landed import landed_windows, part_lines
from tests.live.calendar_days import TODAY, days_ago
from tests.live.command_line import pull
from tests.live.live_airflow import LiveAirflow, Row
from tests.live.shared_airflow import RECORDS_PER_DAY
from tests.live.telemetry_receivers import Statsd
from tests.live.versions.versions import PROJECT
from tests.monitoring.exporter import exporter
from tests.monitoring.prometheus import prometheus
from tests.monitoring.waiting import until_equal

pytestmark = pytest.mark.since("3.3.2")
DAG_ID, PREFIX = "cloudflare_audit_gaps", "airflow.cloudflare_audit_logs."
DAY = timedelta(days=1)
# Days that are landed before, as (first, before) in days ago; the days between them are gaps.
LANDED = ((40, 37), (35, 34), (33, 20), (10, 9), (8, 4))
# The last gap ends with yesterday, the last day that is settled.
GAPS = ((37, 35), (34, 33), (20, 10), (9, 8), (4, 0))
LATE_DAY = 6


class Night(NamedTuple):
    """A run of the DAG, what it found, and the telemetry of all runs."""

    live: LiveAirflow
    statsd: Statsd
    run_id: str

    @property
    def destination(self) -> Path:
        """The folder of the audit logs."""
        return self.live.home.landed / "jsonl"

    def tasks(self, task_id: str) -> list[Row]:
        """Returns the instances of a task, by their index."""
        found = [task for task in self.live.tasks(DAG_ID, self.run_id) if task["task_id"] == task_id]
        return sorted(found, key=lambda task: int(task["map_index"]))

    def xcom(self, key: str = "return_value") -> Any:
        """Returns what the coverage task pushed."""
        return self.live.xcom(DAG_ID, self.run_id, "find_gaps", key)

    def events(self) -> list[dict[str, Any]]:
        """Returns the extras of the gap events."""
        return [event["extra"] for event in self.live.events(f"{self.destination.as_uri()}/_gaps")]


def make_gaps(live: LiveAirflow, destination: Path) -> None:
    """Lands all days but the gaps, and lets one day look as if it was committed an hour after its end."""
    # Other tests of this Airflow have landed days there.
    shutil.rmtree(destination, ignore_errors=True)
    for first, before in LANDED:
        pull(live, destination, days_ago(first), days_ago(before))
    for path in list(destination.glob(f"{COMMIT_LOG_FOLDER}*/*.json")):
        entry = read_log_key(path.relative_to(destination).as_posix())
        if entry is not None and entry.window.start == days_ago(LATE_DAY):
            moved = destination / entry._replace(at=entry.window.end + timedelta(hours=1)).key
            moved.parent.mkdir(exist_ok=True)
            path.rename(moved)
    live.account.add_late_record(days_ago(LATE_DAY).date())


@pytest.fixture(scope="module")
def night(live: LiveAirflow, counted: Statsd) -> Night:
    """The first run of the DAG on a destination with five gaps and a late day."""
    make_gaps(live, live.home.landed / "jsonl")
    counted.lines.clear()
    live.unpause(DAG_ID)
    live.trigger(DAG_ID, logical_date=datetime.now(UTC))
    # In the hours after three o'clock the scheduler starts a run, too. The first one finds the gaps.
    runs = live.await_runs(DAG_ID)
    assert {run["state"] for run in runs} == {"success"}, live.tasks(DAG_ID, runs[0]["dag_run_id"])
    (run,) = (run for run in runs if live.xcom(DAG_ID, run["dag_run_id"], "find_gaps"))
    return Night(live, counted, run["dag_run_id"])


def wanted() -> list[tuple[datetime, datetime, str]]:
    """Returns the gaps in the order of their expiry."""
    missing = [(days_ago(first), days_ago(before), "missing") for first, before in GAPS]
    return sorted([*missing, (days_ago(LATE_DAY), days_ago(LATE_DAY - 1), "late")])


def test_each_gap_is_one_mapped_task_in_order_of_expiry(night: Night) -> None:
    """The tasks have the gaps as their windows and run in the order in which the gaps expire."""
    tasks = night.tasks("fill_gap")
    assert [task["state"] for task in tasks] == ["success"] * len(wanted())
    assert [datetime.fromisoformat(task["rendered_map_index"]) for task in tasks] == [start for start, _, _ in wanted()]
    began = [datetime.fromisoformat(task["start_date"]) for task in tasks]
    assert began == sorted(began)
    bounds = [(one["window_start"], one["window_end"]) for one in night.xcom()]
    assert bounds == [(start.isoformat(), end.isoformat()) for start, end, _ in wanted()]


def test_nothing_is_missing_afterwards(night: Night) -> None:
    """Every day is one window, every record landed once, the late one too, and all files are as their manifests say."""
    windows = landed_windows(night.destination)
    assert [datetime.fromisoformat(window.start) for window in windows] == [
        days_ago(count) for count in range(40, 0, -1)
    ]
    ids = [json.loads(line)["id"] for window in windows for part in window.parts for line in part_lines(part)]
    assert sorted(ids) == sorted(night.live.truth_ids(days_ago(40), days_ago(0)))
    assert len(ids) == 40 * RECORDS_PER_DAY + 1
    assert not verify(store_from_uri(night.destination.as_uri())).findings


def test_each_gap_is_an_asset_event(night: Night) -> None:
    """The extra of each event has the gap, its reason and for how many days it can still be read."""
    events = sorted(night.events(), key=lambda extra: str(extra["window_start"]))
    assert [(each["window_start"], each["window_end"], each["reason"]) for each in events] == [
        (start.isoformat(), end.isoformat(), reason) for start, end, reason in wanted()
    ]
    assert [each["window_count"] for each in events] == [(end - start) // DAY for start, end, _ in wanted()]
    for each in events:
        expires_at = datetime.fromisoformat(str(each["readable_until"]))
        age = datetime.fromisoformat(str(each["window_start"])) + each["days_left"] * DAY
        assert timedelta(0) <= expires_at - datetime.now(UTC) - each["days_left"] * DAY < DAY
        assert age < expires_at
    assert len(json.dumps(events[0])) < 250


def test_each_gap_is_a_metric_and_documented(night: Night) -> None:
    """The counters have one count for each gap by its reason, the gauge the days left; the page names each metric."""
    metrics = [metric for metric in night.statsd.metrics(PREFIX) if metric.name.startswith("coverage.")]
    gaps = [metric.tags["reason"] for metric in metrics if metric.name == "coverage.gaps"]
    assert sorted(gaps) == sorted(reason for _, _, reason in wanted())
    windows = sum(metric.value for metric in metrics if metric.name == "coverage.windows")
    assert windows == sum((end - start) // DAY for start, end, _ in wanted())
    days_left = next(metric.value for metric in metrics if metric.name == "coverage.days_left")
    assert days_left == night.xcom("summary")["days_left"] > 450
    page = (PROJECT / "docs" / "reference" / "observability.md").read_text()
    assert {metric.name for metric in metrics} == set(re.findall(r"`(coverage\.\w+)`", page))


def test_alert_fires_for_the_gaps(night: Night, tmp_path: Path) -> None:
    """With the packets of the real coverage tasks, a real Prometheus fires the alert of gaps."""
    # Other tasks of the same Airflow load old data on purpose, which fires the alert of late data.
    lines = [line for line in night.statsd.lines if ".coverage." in line]
    with exporter(tmp_path) as receiving, prometheus(tmp_path, receiving) as scraping:
        receiving.send(lines)
        until_equal(scraping.firing, {"CloudflareAuditLogsGap"}, "the alert")
        assert scraping.summaries() == ["The archive of Cloudflare's audit log has gaps (missing)."]
        (days_left,) = scraping.query("cloudflare_audit_logs_coverage_days_left")
        assert float(days_left["value"][1]) == night.xcom("summary")["days_left"]


def test_log_says_how_long_each_gap_can_be_read(night: Night) -> None:
    """The log of the coverage task has a table with the days left of each gap."""
    (task,) = night.tasks("find_gaps")
    log = night.live.log(task)
    for each in night.events():
        assert f"{each['days_left']} " in log
    assert "days left" in log


def test_next_night_finds_nothing(night: Night) -> None:
    """The run after it hands over nothing, also not the late day, skips the landing, and creates no event."""
    before, count = {path: path.stat().st_mtime_ns for path in files(night)}, len(night.events())
    run_id = night.live.trigger(DAG_ID, logical_date=datetime.now(UTC))
    assert night.live.await_run(DAG_ID, run_id) == "success"
    after = night._replace(run_id=run_id)
    # Midnight may have passed since, and then one more day is settled.
    assert [one["window_start"] for one in after.xcom()] in ([], [days_ago(0).isoformat()])
    if datetime.now(UTC).date() == TODAY:
        assert [task["state"] for task in after.tasks("fill_gap")] == ["skipped"]
        assert {path: path.stat().st_mtime_ns for path in files(night)} == before
        assert len(night.events()) == count


def files(night: Night) -> list[Path]:
    """Returns the files of the destination."""
    return [path for path in night.destination.rglob("*") if path.is_file()]
