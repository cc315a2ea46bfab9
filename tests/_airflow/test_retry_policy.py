"""The retry policy decides by the error alone, and the operators let it decide."""

from __future__ import annotations

import importlib
import json
import sys
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException
from airflow.sdk import DAG
from airflow.sdk.definitions.retry_policy import RetryAction, RetryDecision
from airflow.serialization.serialized_objects import DagSerialization

from airflow_audit_provider.exceptions import (
    AuditProviderError,
    SourceAuthError,
    SourceRateLimitedError,
    SourceUnavailableError,
)
from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator
from airflow_audit_provider.retry_policy import CloudflareRetryPolicy
from tests.operators.task_setup import WINDOW, TaskSetup

POLICY = CloudflareRetryPolicy()
MODULE = "airflow_audit_provider.retry_policy"


def _decide(error: BaseException) -> RetryDecision:
    return POLICY.evaluate(exception=error, try_number=1, max_tries=3, context=None)


def test_a_rate_limit_sets_the_delay() -> None:
    """A 429 is tried again when it says, and the reason names it."""
    decision = _decide(SourceRateLimitedError("Blocked. Wait.", retry_after=90.0))
    assert (decision.action, decision.retry_delay) == (RetryAction.RETRY, timedelta(seconds=90))
    assert "SourceRateLimitedError" in str(decision.reason)


def test_a_refused_credential_fails_at_once() -> None:
    """What no retry mends fails, and the reason names it."""
    decision = _decide(SourceAuthError("Refused. Mend it.", status=401))
    assert decision.action is RetryAction.FAIL
    assert "SourceAuthError: [status 401] Refused" in str(decision.reason)


@pytest.mark.parametrize("error", [SourceUnavailableError("x"), ZeroDivisionError("x"), KeyboardInterrupt()])
def test_the_rest_is_the_tasks_own_affair(error: BaseException) -> None:
    """An outage, and what is no error of ours, follows the task's retries and delay."""
    assert _decide(error) == RetryDecision.default()


def test_a_policy_survives_its_journey() -> None:
    """What it writes down is JSON and builds an equal policy; a DAG with one serializes."""
    reported = json.loads(json.dumps(POLICY.serialize()))
    assert CloudflareRetryPolicy.deserialize(reported) == POLICY
    assert len({POLICY, CloudflareRetryPolicy()}) == 1
    with DAG("d", schedule=None) as dag:
        CloudflareAuditLogsToObjectStorageOperator(task_id="t", destination="file:///x", retry_policy=POLICY)
    json.dumps(DagSerialization.to_dict(dag))


@pytest.mark.parametrize("shell", ["operator", "sensor", "event"])
def test_with_a_policy_the_error_itself_is_raised(task_setup: TaskSetup, shell: str) -> None:
    """A policy is asked about our error; without one the task fails for good by Airflow's own word."""
    task_setup.misbehave("status=403")
    for arguments, raised in (({"retry_policy": POLICY}, SourceAuthError), ({}, AirflowFailException)):
        with pytest.raises(raised, match=r"Cloudflare says no|credential may not read|SourceAuthError"):
            _run(task_setup, shell, arguments)


def _run(task_setup: TaskSetup, shell: str, arguments: dict[str, Any]) -> None:
    if shell == "operator":
        task_setup.operator(**WINDOW, **arguments).execute({})
    elif shell == "sensor":
        task_setup.sensor(**arguments).execute({})
    else:
        event = {"status": "failed", "code": "SourceAuthError", "message": "Cloudflare says no"}
        task_setup.sensor(**arguments).execute_complete({}, event)


def test_a_sensor_that_may_skip_still_skips(task_setup: TaskSetup) -> None:
    """A sensor that fails softly is skipped, policy or not."""
    task_setup.misbehave("status=403")
    for deferrable in (False, True):
        with pytest.raises(AirflowSkipException):
            task_setup.sensor(retry_policy=POLICY, soft_fail=True, deferrable=deferrable).execute({})


def test_an_unknown_code_is_still_an_error(task_setup: TaskSetup) -> None:
    """A failure told by a trigger of another version of the provider keeps its words."""
    with pytest.raises(AuditProviderError, match="NewError: why"):
        task_setup.sensor(retry_policy=POLICY).execute_complete(
            {}, {"status": "failed", "code": "NewError", "message": "why"}
        )


def test_before_airflow_3_3_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Airflow has no retry policies the import fails and says that none is needed."""
    monkeypatch.setitem(sys.modules, "airflow.sdk.definitions.retry_policy", None)
    monkeypatch.delitem(sys.modules, MODULE)
    with pytest.raises(ImportError, match=r"needs Airflow 3\.3.*Remove retry_policy"):
        importlib.import_module(MODULE)
