"""With verify="recount" a window is committed only when a second reading agrees."""

from __future__ import annotations

import json

import pytest

from airflow_audit_provider.exceptions import ConfigurationError, VerificationError
from tests.operators.task_setup import TaskSetup


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_an_agreeing_second_reading_is_in_the_manifest(task_setup: TaskSetup, version: str) -> None:
    """The manifest says that a recount agreed, and the records are the truth."""
    task_setup.land(verify="recount", api_version=version)
    manifest = next(json.loads(content) for name, (content, _) in task_setup.tree().items() if "_manifests" in name)
    assert manifest["verified"] == "recount"
    assert manifest["fetch"]["seen_count"] >= 2 * len(task_setup.ids(version))
    assert task_setup.lines() == task_setup.raws(version)


def test_a_disagreeing_second_reading_lands_nothing(task_setup: TaskSetup) -> None:
    """A record that appears between the readings fails the task, and nothing is written."""
    task_setup.misbehave("late_rows,after=1,first=2")
    with pytest.raises(Exception, match="disagree") as caught:
        task_setup.land(verify="recount")
    assert isinstance(caught.value.__cause__, VerificationError)
    assert task_setup.tree() == {}


@pytest.mark.parametrize("arguments", [{"verify": "twice"}, {"concurrency": 0}, {"max_part_bytes": -1}])
def test_what_cannot_be_is_said_when_the_dag_is_parsed(task_setup: TaskSetup, arguments: dict[str, object]) -> None:
    """An impossible number or word is refused by the constructor."""
    with pytest.raises(ConfigurationError, match="Give"):
        task_setup.operator(**arguments)
