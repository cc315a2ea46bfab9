"""The plan operator and the hook's method return the plan of a destination through Airflow's connections."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_audit_provider.exceptions import ConfigurationError
from airflow_audit_provider.operators.plan import CloudflareAuditLogsPlanOperator
from tests.operators.task_setup import END, START, TaskSetup


def _plan(task_setup: TaskSetup, **arguments: Any) -> dict[str, Any]:
    given = {"task_id": "plan", "destination": f"file://{task_setup.destination}", **arguments}
    operator = CloudflareAuditLogsPlanOperator(**given)
    operator.__dict__["hook"] = task_setup.hook()
    return operator.execute({})


@pytest.mark.integration
def test_operator_returns_the_plan(task_setup: TaskSetup) -> None:
    """A landed day is committed, the days around it are missing, and the XCom is small and plain."""
    task_setup.land()
    summary = _plan(task_setup, start=START - timedelta(days=2), end=END + timedelta(days=1), backfill_dag_id="mine")
    assert summary["windows"] == dict.fromkeys(summary["windows"], 0) | {"committed": 1, "missing": 3}
    assert summary["need"]["record_count"] == pytest.approx(900, rel=0.2)
    assert [command.split()[4] for command in summary["commands"]] == ["mine", "mine"]
    assert len(json.dumps(summary)) < 5_000


@pytest.mark.integration
def test_operator_warns_of_lost_windows(task_setup: TaskSetup, capsys: pytest.CaptureFixture[str]) -> None:
    """The task of a range beyond the retention succeeds and says what is lost."""
    summary = _plan(task_setup, start="2024-01-01", end="2024-02-01")
    assert summary["windows"]["lost"] == 31
    assert "31 windows are lost for good" in capsys.readouterr().out
    assert not task_setup.fake.requests


@pytest.mark.integration
def test_hook_plans_for_the_connection(task_setup: TaskSetup) -> None:
    """The hook's method plans for the connection's account, in local days if asked to."""
    plan = task_setup.hook().plan_backfill(
        f"file://{task_setup.destination}", start="2026-10-20", end="2026-10-27", timezone="Europe/Berlin"
    )
    assert (plan.windows["missing"], plan.start.hour) == (7, 22)


def test_impossible_arguments_are_refused(task_setup: TaskSetup) -> None:
    """A wrong destination or query fails when the DAG is parsed, and a wrong division fails the task at once."""
    with pytest.raises(ConfigurationError):
        CloudflareAuditLogsPlanOperator(task_id="plan", destination="s3://audit/a#b")
    with pytest.raises(ConfigurationError):
        CloudflareAuditLogsPlanOperator(task_id="plan", destination="s3://audit", scope="planet")
    with pytest.raises(AirflowFailException, match="division"):
        _plan(task_setup, division="week")
