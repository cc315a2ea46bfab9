"""The documented DAGs for other warehouses, parsed with the official providers; none is run against an account."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from tests.live.versions import environments, running
from tests.live.versions.versions import PROJECT, AirflowVersion
from tests.packaging.building import build

# The environment of these tests holds the providers of four clouds, and no other test needs it.
pytestmark = pytest.mark.nightly
# Airflow 3.3.2 with the providers beside it; its lock is requirements/airflow-warehouses.txt.
ENVIRONMENT = AirflowVersion("warehouses", ("3.12", "3.13", "3.11"))
FOLDER = PROJECT / "docs" / "warehouses"
PARTS = [{"key": "dt=2026-10-26/window=x/part-0001.parquet"}, {"key": "dt=2026-10-26/window=x/part-0002.parquet"}]
PROBE = """
import inspect, json, sys
from airflow.dag_processing.dagbag import DagBag
bag, manifest = DagBag(sys.argv[1]), sys.argv[2]
def look(task):
    module = type(task).__module__
    seen = {"module": module, "upstream": sorted(task.upstream_task_ids)}
    if hasattr(task, "python_callable"):
        names = inspect.signature(task.python_callable).parameters
        known = {"manifest_uri": manifest, "window_start": "2026-10-26T00:00:00", "window_end": "2026-10-27T00:00:00"}
        seen["gives"] = task.python_callable(**{name: known[name] for name in names})
    return seen
print(json.dumps({
    "errors": bag.import_errors,
    "dags": {name: {task.task_id: look(task) for task in dag.tasks} for name, dag in bag.dags.items()},
}, default=str))
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """How that environment parses the DAGs, and what the DAGs' own Python code returns for a manifest."""
    home = tmp_path_factory.mktemp("warehouses")
    python = environments.prepare(ENVIRONMENT, build("wheel", home))
    manifest = home / "manifest.json"
    manifest.write_text(json.dumps({"parts": PARTS}))
    command: list[Any] = [python, "-c", PROBE, FOLDER, f"file://{manifest}"]
    # Google's operators take longer to import on a busy machine than the 30 seconds that Airflow allows a file.
    environment = {**running.settings(home), "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "600"}
    answer = subprocess.run(
        command, cwd=home, env=environment, capture_output=True, text=True, timeout=900, check=False
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    found: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return found


def test_all_are_parsed(report: dict[str, Any]) -> None:
    """Every file defines its DAG, without an error."""
    assert report["errors"] == {}
    assert sorted(report["dags"]) == sorted(f"cloudflare_audit_{path.stem}" for path in FOLDER.glob("*.py"))


@pytest.mark.parametrize(
    ("name", "task", "module"),
    [
        ("bigquery", "load", "airflow.providers.google.cloud.transfers.gcs_to_bigquery"),
        ("snowflake", "load", "airflow.providers.snowflake.operators.snowflake"),
        ("redshift", "load", "airflow.providers.amazon.aws.operators.redshift_data"),
        ("athena", "add_partition", "airflow.providers.amazon.aws.operators.athena"),
    ],
)
def test_official_operator_comes_after_landing(report: dict[str, Any], name: str, task: str, module: str) -> None:
    """The last task is the official provider's operator, downstream of the task that lands the day."""
    tasks = report["dags"][f"cloudflare_audit_{name}"]
    assert tasks[task]["module"] == module
    before = tasks[task]["upstream"]
    assert "land" in before or tasks[before[0]]["upstream"] == ["land"]


def test_only_what_the_manifest_names_is_loaded(report: dict[str, Any]) -> None:
    """The DAGs' own Python code lists the parts in the manifest, and nothing else."""
    keys = [part["key"] for part in PARTS]
    dags = report["dags"]
    assert dags["cloudflare_audit_bigquery"]["parts"]["gives"] == [f"cloudflare/{key}" for key in keys]
    assert dags["cloudflare_audit_snowflake"]["parts"]["gives"] == keys
    delete, *copies = dags["cloudflare_audit_redshift"]["statements"]["gives"]
    assert "'2026-10-26T00:00:00'" in delete
    assert "'2026-10-27T00:00:00'" in delete
    assert [copy.split("'")[1].removeprefix("s3://audit/cloudflare/") for copy in copies] == keys


def test_versions_are_locked() -> None:
    """The lock file has the provider of every documented warehouse."""
    lock = ENVIRONMENT.lock.read_text()
    for provider in ("amazon", "google", "snowflake"):
        assert f"apache-airflow-providers-{provider}==" in lock
