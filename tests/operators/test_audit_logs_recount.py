"""Tests that verify="recount" commits a window only if a second read agrees."""

from __future__ import annotations

import json

import pytest

from airflow_audit_provider.exceptions import ConfigurationError, VerificationError
from tests.operators.task_setup import TaskSetup


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_recount_that_agrees_is_in_the_manifest(task_setup: TaskSetup, version: str) -> None:
    """The manifest states that a recount agreed."""
    task_setup.land(verify="recount", api_version=version)
    manifest = next(json.loads(content) for name, (content, _) in task_setup.tree().items() if "_manifests" in name)
    assert manifest["verified"] == "recount"
    assert manifest["fetch"]["seen_count"] >= 2 * len(task_setup.ids(version))
    assert task_setup.lines() == task_setup.raws(version)


@pytest.mark.integration
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_record_that_appears_between_the_reads_is_landed(task_setup: TaskSetup, version: str) -> None:
    """Reads the window once more, and its recount agrees."""
    task_setup.misbehave("late_rows,after=1,first=2")
    summary = task_setup.land(verify="recount", api_version=version)
    task_setup.misbehave()
    assert summary["verified"] == "recount"
    assert summary["record_count"] == len(task_setup.ids(version)) == 301
    assert task_setup.lines() == task_setup.raws(version)


def test_recount_that_disagrees_twice_writes_nothing(task_setup: TaskSetup) -> None:
    """Fails if records go on appearing between the reads."""
    task_setup.misbehave("late_rows,after=1")
    with pytest.raises(Exception, match="disagree") as caught:
        task_setup.land(verify="recount")
    assert isinstance(caught.value.__context__, VerificationError)
    assert task_setup.tree() == {}


@pytest.mark.parametrize("arguments", [{"verify": "twice"}, {"concurrency": 0}, {"max_part_bytes": -1}])
def test_invalid_argument_fails_at_dag_parse(task_setup: TaskSetup, arguments: dict[str, object]) -> None:
    """The constructor rejects an invalid number or word."""
    with pytest.raises(ConfigurationError, match="Give"):
        task_setup.operator(**arguments)
