"""Settings, DAG files and connections of the Airflow that all tests of this folder share.

Invariant: each DAG has a destination of its own below the home folder, but for the examples of gaps, of a
deadline, of Logpush and of changes, which look at what the daily example lands.
"""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import statsd  # type: ignore[import-untyped]  # it has no stubs

from harness.cloudflare_account import CloudflareAccount
from tests.live.airflow_home import Home
from tests.live.calendar_days import AUTUMN, SPRING, TODAY
from tests.live.versions.versions import PROJECT

DAG_FILES = sorted([*(PROJECT / "dags").glob("*.py"), *(Path(__file__).parent / "dags").glob("*.py")])
# Few records, but some in each hour of each day: what is looked at here is which window lands, not how fast.
RECORDS_PER_DAY = 2000
FAKE_OPTIONS = ("--records-per-day", str(RECORDS_PER_DAY), "--even-days", "--gzip")


def settings(home: Home, account: CloudflareAccount) -> dict[str, str]:
    """Returns the variables beside those of the harness; `AUDIT_LANDED` is the parent folder of all destinations.

    Adds two connections: one that leaves every wait to Airflow, and one with a token that Cloudflare refuses.
    """
    connection = account.connection()
    impatient = {"account_id": account.account_id, "max_attempts": 1, "max_retry_seconds": 1}
    # The partitioned examples begin tomorrow: of them only the backfills a test asks for are run.
    tomorrow = (TODAY + timedelta(days=1)).isoformat()
    return {
        # As many as there are processors to count on.
        "AIRFLOW__CORE__PARALLELISM": "2",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
        # Airflow's default. With the demo's 0.2 s, a scheduler without work takes a fifth of a core and saves little.
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "1",
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AUDIT_LANDED": home.landed.as_uri(),
        "AIRFLOW__CLOUDFLARE_AUDIT_LOGS__COVERAGE_DESTINATIONS": json.dumps(
            [{"destination": (home.landed / "covered").as_uri(), "dag_id": "covered_daily"}]
        ),
        "AUDIT_MAX_EVENT_AGE_HOURS": "6",
        "LOGPUSH_ARCHIVE": (home.landed / "logpush").as_uri(),
        "AUDIT_TODAY": TODAY.isoformat(),
        "AUDIT_SPRING": SPRING.isoformat(),
        "AUDIT_AUTUMN": AUTUMN.isoformat(),
        "AUDIT_PARTITIONS_DESTINATION": (home.landed / "partitions").as_uri(),
        "AUDIT_PARTITIONS_START_DATE": tomorrow,
        "AUDIT_HOURLY_DESTINATION": (home.landed / "hourly").as_uri(),
        "AUDIT_HOURLY_START_DATE": tomorrow,
        "AIRFLOW_CONN_IMPATIENT": json.dumps({**connection, "extra": impatient}),
        "AIRFLOW_CONN_REFUSED": json.dumps({**connection, "password": "no-token-of-theirs"}),
    }


def counting(home: Home, port: int) -> dict[str, str]:
    """Returns the variables by which tasks send this provider's metrics, and no others, to a port.

    Airflow's environments lack the optional statsd client, a single pure-Python package: they get that of the tests.
    """
    return {
        "PYTHONPATH": str(_with_library(home, Path(statsd.__file__).parent)),
        "AIRFLOW__METRICS__STATSD_ON": "True",
        "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
        "AIRFLOW__METRICS__STATSD_PORT": str(port),
        "AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED": "True",
        "AIRFLOW__METRICS__METRICS_ALLOW_LIST": "cloudflare_audit_logs",
    }


def committed(home: Home, version: str) -> dict[str, str]:
    """Returns the variables by which Airflow 3.0 starts no task before it has stored that the task is queued."""
    if version != "3.0.6":
        return {}
    library = _with_library(home, Path(__file__).with_name("committed_executor.py"))
    return {"PYTHONPATH": str(library), "AIRFLOW__CORE__EXECUTOR": "committed_executor.CommittedLocalExecutor"}


def _with_library(home: Home, source: Path) -> Path:
    """Returns the folder of additional modules, with one more in it."""
    folder = home.root / "libraries"
    folder.mkdir(exist_ok=True)
    (folder / source.name).symlink_to(source)
    return folder
