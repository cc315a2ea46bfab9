"""What a failed test in a real Airflow shows beside its traceback: Airflow's rows and the ends of its log files.

The folder of a failed run is soon removed, and a failure that depends on what the machine did does not come back when
it is wanted. Rows are read from the database file, because the API may be what failed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from harness.log_files import tail
from tests.live.live_airflow import LiveAirflow

_LINES = 60
_ROWS = 40
_TABLES = {
    "DAG runs": "select dag_id, run_id, state, queued_at, start_date, end_date from dag_run order by id desc",
    "task instances": "select dag_id, task_id, run_id, state, try_number, trigger_id, start_date, end_date"
    " from task_instance order by start_date desc",
    "triggers": 'select id, classpath, triggerer_id, created_date from "trigger" order by id desc',
    "watched assets": 'select asset_id, trigger_id from "asset_trigger"',
    "asset events": "select id, asset_id, timestamp, extra from asset_event order by id desc",
    "asset events to consume": "select target_dag_id, asset_id, created_at from asset_dag_run_queue",
    "DAGs that start no run": "select dag_id, last_parsed_time from dag where is_stale or has_import_errors",
    "jobs": "select id, job_type, state, start_date, latest_heartbeat, end_date from job order by id desc",
}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds the state of the shared Airflow to the report of a test that failed in it."""
    report = yield
    live = getattr(item, "funcargs", {}).get("live")
    if report.failed and call.when == "call" and isinstance(live, LiveAirflow):
        report.sections.append((f"Airflow {live.version}", "\n".join(state(live))))
    return report


def state(live: LiveAirflow) -> Iterator[str]:
    """Yields the newest rows of an Airflow's tables, and the end of each log file."""
    yield from rows(live.home.airflow_home / "airflow.db")
    for log in sorted(live.home.logs.glob("*.log")):
        yield f"{log.name}:\n{tail(log, _LINES)}"


def rows(database: Path) -> Iterator[str]:
    """Yields the newest rows of each table that explains why a run does not start or end."""
    for name, query in _TABLES.items():
        try:
            found = _found(database, f"{query} limit {_ROWS}")
        except sqlite3.Error as error:
            # No database, or a table that another Airflow version has: the others are shown nevertheless.
            yield f"{name}: {error}"
        else:
            yield "\n    ".join([f"{name}:", *map(str, found)])


def _found(database: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=60)) as connection:
        return connection.execute(query).fetchall()
