"""The argument `layout="security_lake"` of the land operator and of `pull`: what is landed, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import duckdb
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_audit_provider.cli.__main__ import main
from airflow_audit_provider.exceptions import ConfigurationError
from airflow_audit_provider.testing.settings import ACCOUNT_ID
from tests.operators.task_setup import TaskSetup

FORM: dict[str, Any] = {"file_format": "parquet", "schema": "ocsf-1.3", "layout": "security_lake", "compression": None}
LAKE = {"bucket": "s3://lake", "source": "cf_{class_uid}", "region": "eu-central-1"}


@pytest.fixture
def task_setup(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> TaskSetup:
    """The default setup."""
    return TaskSetup(monkeypatch, tmp_path / "landed")


@pytest.mark.integration
def test_task_lands_in_the_lake_and_verifies(task_setup: TaskSetup, tmp_path: Path) -> None:
    """A task writes its parts into the lake's bucket, a templated one too, and the commands find them there."""
    bucket, context = tmp_path / "bucket", cast("Any", {"params": {"region": "eu-central-1"}})
    arguments = {**FORM, "security_lake": LAKE | {"bucket": f"file://{bucket}", "region": "{{ params.region }}"}}
    operator = task_setup.operator(**arguments)
    operator.render_template_fields(context)
    assert (operator.security_lake or {})["source"] == "cf_{class_uid}"
    summary = task_setup.land(**{**arguments, "security_lake": operator.security_lake})
    assert (summary["record_count"], summary["schema"]) == (300, "ocsf-1.3 2.0")
    parts = sorted(path.relative_to(bucket).as_posix() for path in bucket.rglob("*") if path.is_file())
    assert len(parts) == summary["part_count"]
    assert all(key.startswith("ext/cf_") and f"/accountId=external_{ACCOUNT_ID}/" in key for key in parts)
    assert not list(task_setup.destination.glob("dt=*"))
    count = f"SELECT count(DISTINCT metadata.uid) FROM '{bucket}/ext/**/*.parquet'"
    rows = duckdb.connect().execute(count).fetchall()
    assert rows == [(300,)]
    assert main(["verify", str(task_setup.destination)]) == 0
    (bucket / parts[0]).unlink()
    assert main(["verify", str(task_setup.destination)]) == 1


@pytest.mark.integration
def test_moved_destination_verifies_and_takes_no_further_window(task_setup: TaskSetup, tmp_path: Path) -> None:
    """After the destination is moved to another URI, verification finds its parts, and a task changes nothing."""
    bucket, moved = tmp_path / "bucket", tmp_path / "moved"
    arguments = {**FORM, "security_lake": LAKE | {"bucket": f"file://{bucket}"}}
    task_setup.land(**arguments)
    task_setup.destination.rename(moved)
    assert main(["verify", str(moved)]) == 0
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    for replaces in (False, True):
        with pytest.raises(AirflowFailException, match="layout security_lake"):
            task_setup.land(**arguments, destination=f"file://{moved}", replace=replaces)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"layout": "delta"}, "layout 'delta' is unknown"),
        ({"layout": "security_lake", "security_lake": LAKE}, "Amazon Security Lake takes Parquet"),
        ({**FORM, "schema": "ocsf", "security_lake": LAKE}, "schema='ocsf'"),
        ({**FORM, "compression": "gzip", "security_lake": LAKE}, "compression='gzip'"),
        (FORM, "security_lake is missing"),
        ({"security_lake": LAKE}, "layout is 'hive' and security_lake is given"),
        ({**FORM, "security_lake": LAKE | {"source": "a_source_that_is_too_long"}}, "has 25 characters"),
        ({**FORM, "security_lake": LAKE, "history": "stitched"}, "history='stitched'"),
        ({**FORM, "security_lake": {"bucket": "s3://lake"}}, "'region' in security_lake is missing"),
    ],
)
def test_layout_is_checked_when_the_dag_is_parsed(task_setup: TaskSetup, arguments: dict[str, Any], said: str) -> None:
    """An argument that no run can use is an error when the DAG is parsed."""
    with pytest.raises(ConfigurationError) as refused:
        task_setup.operator(**arguments)
    assert said in str(refused.value)


def test_template_in_the_layout_waits_for_the_run(task_setup: TaskSetup) -> None:
    """Values that Airflow renders are not checked when the DAG is parsed."""
    templated = LAKE | {"region": "{{ var.value.region }}"}
    assert task_setup.operator(**FORM, security_lake=templated).security_lake == templated
