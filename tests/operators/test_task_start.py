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
ARROW = {"numpy", "pyarrow"}


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
        ("s3", {"file_format": "parquet", "schema": "ocsf"}, S3 | ARROW),
    ],
)
def test_task_imports_only_what_its_destination_and_format_need(
    scheme: str, form: dict[str, str], allowed: set[str], environment: dict[str, str], servers: Servers, tmp_path: Path
) -> None:
    """No pandas, no other store's file system, no lineage client, and no collection of all that the worker imported."""
    assert [name for name in HEAVY if find_spec(name) is None] == []
    where: dict[str, Any] = {"destination": f"file://{tmp_path}/land"}
    if scheme == "s3":
        servers("s3-moto").make_bucket("task-start")
        where = {"destination": f"s3://task-start/{len(form)}", "destination_conn_id": "aws_default"}
    times = {"window_start": START.isoformat(), "window_end": END.isoformat()}
    arguments = json.dumps({**where, **form, **times})
    command = [sys.executable, "-m", "tests.operators.imports_of_a_task", arguments]
    answer = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=120).stdout
    found = json.loads(answer.splitlines()[-1])
    assert found["records"] == 500
    assert {name for name in HEAVY if any(_is_in(module, name) for module in found["imported"])} == allowed
    assert found["full"] == 0


def _is_in(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")
