"""Tests that the retry policy decides by the error alone, and that operators leave the decision to it."""

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


def test_rate_limit_error_sets_retry_delay() -> None:
    """Retries a 429 after its ``Retry-After``; the reason names the error."""
    decision = _decide(SourceRateLimitedError("Blocked. Wait.", retry_after=90.0))
    assert (decision.action, decision.retry_delay) == (RetryAction.RETRY, timedelta(seconds=90))
    assert "SourceRateLimitedError" in str(decision.reason)


def test_auth_error_fails_without_retry() -> None:
    """Fails an error that no retry can fix; the reason names the error."""
    decision = _decide(SourceAuthError("Refused. Correct it.", status=401))
    assert decision.action is RetryAction.FAIL
    assert "SourceAuthError: Refused" in str(decision.reason)


@pytest.mark.parametrize("error", [SourceUnavailableError("x"), ZeroDivisionError("x"), KeyboardInterrupt()])
def test_other_error_uses_the_tasks_own_retries(error: BaseException) -> None:
    """An outage, or an error of another library, uses the task's own retries and delay."""
    assert _decide(error) == RetryDecision.default()


def test_policy_survives_serialization() -> None:
    """The serialized policy is JSON and builds an equal policy; a DAG with one serializes."""
    reported = json.loads(json.dumps(POLICY.serialize()))
    assert CloudflareRetryPolicy.deserialize(reported) == POLICY
    assert len({POLICY, CloudflareRetryPolicy()}) == 1
    with DAG("d", schedule=None) as dag:
        CloudflareAuditLogsToObjectStorageOperator(task_id="t", destination="file:///x", retry_policy=POLICY)
    json.dumps(DagSerialization.to_dict(dag))


@pytest.mark.parametrize("task_kind", ["operator", "sensor", "event"])
def test_task_with_policy_raises_the_provider_error(task_setup: TaskSetup, task_kind: str) -> None:
    """Raises the provider's error with a policy, and ``AirflowFailException`` without one."""
    task_setup.misbehave("status=403")
    for arguments, raised in (({"retry_policy": POLICY}, SourceAuthError), ({}, AirflowFailException)):
        with pytest.raises(raised, match=r"Cloudflare says no|credential may not read|SourceAuthError"):
            _run(task_setup, task_kind, arguments)


def _run(task_setup: TaskSetup, task_kind: str, arguments: dict[str, Any]) -> None:
    if task_kind == "operator":
        task_setup.operator(**WINDOW, **arguments).execute({})
    elif task_kind == "sensor":
        task_setup.sensor(**arguments).execute({})
    else:
        event = {"status": "failed", "code": "SourceAuthError", "message": "Cloudflare says no"}
        task_setup.sensor(**arguments).execute_complete({}, event)


def test_soft_fail_sensor_with_policy_is_skipped(task_setup: TaskSetup) -> None:
    """Skips a sensor with ``soft_fail``, with or without a policy."""
    task_setup.misbehave("status=403")
    for deferrable in (False, True):
        with pytest.raises(AirflowSkipException):
            task_setup.sensor(retry_policy=POLICY, soft_fail=True, deferrable=deferrable).execute({})


def test_unknown_error_code_in_event_keeps_its_message(task_setup: TaskSetup) -> None:
    """Keeps the message of a failure that a trigger of another provider version reported."""
    with pytest.raises(AuditProviderError, match="NewError: why"):
        task_setup.sensor(retry_policy=POLICY).execute_complete(
            {}, {"status": "failed", "code": "NewError", "message": "why"}
        )


def test_import_before_airflow_3_3_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The import error before Airflow 3.3 states that no policy is needed."""
    monkeypatch.setitem(sys.modules, "airflow.sdk.definitions.retry_policy", None)
    monkeypatch.delitem(sys.modules, MODULE)
    with pytest.raises(ImportError, match=r"needs Airflow 3\.3.*Remove retry_policy"):
        importlib.import_module(MODULE)
