"""A task imports only what its own destination and format need, in an installation that has much more.

How long the imports take is measured by ``python -m bench.task_start``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from airflow_audit_provider.testing import FakeServer
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.settings import ACCOUNT_ID, TOKEN
from tests.adapters.storage.real_stores import Servers
from tests.architecture.source_files import PROJECT
from tests.docs.blocks import blocks_of
from tests.operators.task_setup import END, START
from tests.pipelines.pull.landing import fake_with

pytestmark = pytest.mark.integration

# Each takes a tenth of a second or more of CPU, or brings in modules that do.
HEAVY = {
    "adlfs",
    "airflow.providers.amazon",
    "airflow.providers.google",
    "airflow.providers.microsoft",
    "airflow.providers.openlineage",
    "airflow.providers_manager",
    "azure",
    "boto3",
    "cryptography",
    "gcsfs",
    "google",
    "numpy",
    "openlineage",
    "pandas",
    "pyarrow",
    "s3fs",
}
S3 = {"airflow.providers.amazon", "boto3", "s3fs"}
# With these, all libraries of a pull into S3.
OF_S3 = S3 | {"aiobotocore", "aiohttp", "botocore", "fsspec", "requests", "s3transfer", "urllib3"}
ARROW = {"numpy", "pyarrow"}
# Airflow imports these or the declarations of its providers before it forks.
OF_AIRFLOW = {"airflow.providers.google", "airflow.providers.microsoft", "airflow.providers.openlineage"}
OF_AIRFLOW |= {"airflow.providers_manager", "cryptography"}


@pytest.fixture
def environment(servers: Servers) -> Iterator[dict[str, str]]:
    """Serves 500 records a day; yields an environment with the connections of the fake and of S3."""
    with FakeServer(fake_with(ManualClock(), records_per_day=500)) as server:
        fake = {"conn_type": "cloudflare", "host": server.base_url, "password": TOKEN}
        yield {
            **{name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
            "AIRFLOW_CONN_CLOUDFLARE_DEFAULT": json.dumps({**fake, "extra": {"account_id": ACCOUNT_ID}}),
            "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(servers("s3-moto").fields()),
        }


@pytest.mark.parametrize(
    ("scheme", "form", "allowed"),
    [
        ("file", {}, set()),
        pytest.param("file", {"file_format": "parquet"}, ARROW, marks=pytest.mark.nightly),
        pytest.param("file", {"file_format": "parquet", "schema": "normalized"}, ARROW, marks=pytest.mark.nightly),
        pytest.param("s3", {}, S3, marks=pytest.mark.nightly),
        pytest.param("s3", {"file_format": "parquet", "schema": "ocsf"}, S3 | ARROW, marks=pytest.mark.nightly),
    ],
)
def test_task_imports_only_what_its_destination_and_format_need(
    scheme: str, form: dict[str, str], allowed: set[str], environment: dict[str, str], servers: Servers, tmp_path: Path
) -> None:
    """No pandas, no other store's file system, no lineage client, and no collection of all that the worker imported."""
    assert [name for name in HEAVY if find_spec(name) is None] == []
    where: dict[str, Any] = {"destination": f"file://{tmp_path}/land"}
    if scheme == "s3":
        where = _bucket(servers, f"{len(form)}")
    found = _imports({**where, **form}, environment)
    assert _among(HEAVY, found["imported"]) == allowed
    assert found["full"] == 0


def test_lines_for_the_worker_import_all_that_a_pull_into_s3_needs(
    environment: dict[str, str], servers: Servers, tmp_path: Path
) -> None:
    """They start no thread, which a fork would lose, and import nothing else that is heavy."""
    assert [name for name in HEAVY | OF_S3 if find_spec(name) is None] == []
    (lines,) = blocks_of("task-start.md", (PROJECT / "docs/how-to/task-start.md").read_text())
    settings = tmp_path / "config" / "airflow_local_settings.py"
    settings.parent.mkdir()
    settings.write_text(lines.code)
    form = {"file_format": "parquet", "schema": "ocsf"}
    found = _imports({**_bucket(servers, "early"), **form}, {**environment, "AIRFLOW_HOME": str(tmp_path)})
    assert found["threads"] == 1
    assert _among(HEAVY | {"grpc"}, found["worker"]) - OF_AIRFLOW == S3
    assert {"airflow_audit_provider.hooks.cloudflare", "airflow_audit_provider.operators.audit_logs"} < set(
        found["worker"]
    )
    assert _among(OF_S3, found["imported"]) == set()
    assert _among(HEAVY, found["imported"]) == ARROW
    assert found["full"] == 0


def test_pull_into_parquet_starts_no_threads_for_linear_algebra(environment: dict[str, str], tmp_path: Path) -> None:
    """It has the threads of a pull with ``OPENBLAS_NUM_THREADS=1``; with another number, it has that number."""
    kept = {name: value for name, value in environment.items() if not name.endswith("_NUM_THREADS")}
    found = {}
    for threads in ("", "1", "2"):
        arguments = {"destination": str(tmp_path / f"landing{threads}"), "file_format": "parquet"}
        found[threads] = _imports(arguments, kept | ({"OPENBLAS_NUM_THREADS": threads} if threads else {}))
    assert {threads: "numpy" in one["imported"] for threads, one in found.items()} == {"": True, "1": True, "2": True}
    after = {threads: one["threads_after"] for threads, one in found.items()}
    assert after[""] == after["1"]
    assert after["2"] == after["1"] + min(2, len(os.sched_getaffinity(0))) - 1


def _bucket(servers: Servers, folder: str) -> dict[str, str]:
    """Returns where in S3 a pull writes to."""
    servers("s3-moto").make_bucket("task-start")
    return {"destination": f"s3://task-start/{folder}", "destination_conn_id": "aws_default"}


def _imports(arguments: dict[str, Any], environment: dict[str, str]) -> dict[str, Any]:
    """Returns what a pull imports, and what its worker has; the pull writes all records."""
    times = {"window_start": START.isoformat(), "window_end": END.isoformat()}
    command = [sys.executable, "-m", "tests.operators.imports_of_a_task", json.dumps({**arguments, **times})]
    answer = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=120).stdout
    found: dict[str, Any] = json.loads(answer.splitlines()[-1])
    assert found["records"] == 500
    return found


def _among(packages: set[str], modules: list[str]) -> set[str]:
    return {package for package in packages if any(_is_in(module, package) for module in modules)}


def _is_in(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")
