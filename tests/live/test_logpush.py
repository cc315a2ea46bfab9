"""The examples of Logpush and of changes run on a real Airflow: an archive is repaired, and values are derived."""

from __future__ import annotations

import gzip
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from airflow_audit_provider.core.windows.window import to_ns
from airflow_audit_provider.testing.logpush import LogpushFaults, LogpushOptions, make_archive
from airflow_audit_provider.testing.records import Row
from harness.landed import landed_windows
from tests.live.calendar_days import days_ago
from tests.live.command_line import pull
from tests.live.live_airflow import LiveAirflow
from tests.live.shared_airflow import RECORDS_PER_DAY

pytestmark = [pytest.mark.since("3.3.2"), pytest.mark.nightly]
LOGPUSH, CHANGES = "cloudflare_audit_logpush", "cloudflare_audit_changes"
LOST_COUNT = 7


class Compared(NamedTuple):
    """A run of the example of Logpush, and the ids that the archive lacks."""

    live: LiveAirflow
    run_id: str
    lost: set[str]

    @property
    def destination(self) -> Path:
        """The folder of the audit logs."""
        return self.live.home.landed / "jsonl"


def make_logpush_files(live: LiveAirflow, folder: Path) -> set[str]:
    """Writes the files of a job that has lost some records of the compared days; returns their ids."""
    rows = [_row(line) for line in live.account.truth(days_ago(9), days_ago(0))]
    compared = [row for row in rows if row.time_ns < to_ns(days_ago(2))]
    lost = {row.id for row in compared[:: len(compared) // LOST_COUNT][:LOST_COUNT]}
    made = make_archive([row for row in rows if row.id not in lost], "v1", LogpushOptions(), LogpushFaults())
    for key, content in made.files.items():
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return lost


def _row(line: bytes | str) -> Row:
    raw = line.encode() if isinstance(line, str) else line
    fields = json.loads(raw)
    return Row(to_ns(datetime.fromisoformat(fields["when"])), fields["id"], raw)


@pytest.fixture(scope="module")
def compared(live: LiveAirflow) -> Compared:
    """The first run of the DAG: the archive lacks records, and the dataset lacks the last compared day."""
    destination = live.home.landed / "jsonl"
    # Other tests of this Airflow have landed days there.
    shutil.rmtree(destination, ignore_errors=True)
    pull(live, destination, days_ago(9), days_ago(2))
    lost = make_logpush_files(live, live.home.landed / "logpush")
    live.unpause(LOGPUSH)
    live.trigger(LOGPUSH, logical_date=datetime.now(UTC))
    # In the hours after four o'clock the scheduler starts a run, too. The first one finds what is missing.
    runs = live.await_runs(LOGPUSH)
    assert {run["state"] for run in runs} == {"success"}, live.tasks(LOGPUSH, runs[0]["dag_run_id"])
    (run,) = (
        run for run in runs if live.xcom(LOGPUSH, run["dag_run_id"], "reconcile", "summary")["missing_there_count"]
    )
    return Compared(live, run["dag_run_id"], lost)


def test_lost_records_are_written_beside_the_archive(compared: Compared) -> None:
    """The summary counts what the archive lacks, and the files of the repair have exactly these records."""
    summary = compared.live.xcom(LOGPUSH, compared.run_id, "reconcile", "summary")
    assert summary["missing_there_count"] == len(compared.lost) == LOST_COUNT
    files = sorted((compared.live.home.landed / "logpush_repaired").rglob("*.log.gz"))
    lines = [line for path in files for line in gzip.decompress(path.read_bytes()).splitlines()]
    assert {json.loads(line)["ID"] for line in lines} == compared.lost
    assert len(lines) == LOST_COUNT


def test_missing_day_is_landed_by_a_mapped_task(compared: Compared) -> None:
    """The day that the dataset lacked is committed whole by the task that is mapped over the result."""
    tasks = [task for task in compared.live.tasks(LOGPUSH, compared.run_id) if task["task_id"] == "land"]
    assert [task["state"] for task in tasks] == ["success"]
    windows = {window.start: window.record_count for window in landed_windows(compared.destination)}
    assert len(windows) == 8
    assert set(windows.values()) == {RECORDS_PER_DAY}


def test_changes_of_the_week_are_derived(compared: Compared) -> None:
    """The example writes a row for each record of the windows of the last week, and counts the older ones."""
    live = compared.live
    live.unpause(CHANGES)
    live.trigger(CHANGES, logical_date=datetime.now(UTC))
    runs = live.await_runs(CHANGES)
    assert {run["state"] for run in runs} == {"success"}, live.tasks(CHANGES, runs[0]["dag_run_id"])
    summaries = [live.xcom(CHANGES, run["dag_run_id"], "derive_changes") for run in runs]
    derived = sum(summary["record_count"] for summary in summaries)
    files = (compared.destination / "_changes").rglob("*.jsonl.gz")
    rows = [json.loads(line) for path in files for line in gzip.decompress(path.read_bytes()).splitlines()]
    assert len(rows) == derived == 6 * RECORDS_PER_DAY
    assert len({row["id"] for row in rows}) == derived
    assert summaries[0]["older_count"] == 2
    assert "airflow-audit-provider changes" in summaries[0]["older_command"]
