"""The land operator keeps odd records and reports them once, or fails at the first if it is asked to."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock, patch

import pytest
from airflow.providers.common.compat.sdk import AirflowException

from airflow_audit_provider.exceptions import ConfigurationError
from airflow_audit_provider.testing.instants import to_ns
from airflow_audit_provider.testing.records import Feed, Row
from airflow_audit_provider.testing.settings import ACCOUNT_ID
from tests.operators.task_setup import END, START, TaskSetup

pytestmark = pytest.mark.integration


def _add_odd_record(task_setup: TaskSetup, raw: bytes) -> None:
    """Puts a record into the fake at a place of its own, which its text does not say."""
    row = Row(to_ns(START) + 12 * 3600 * 10**9, "odd", raw)
    task_setup.fake._dataset._insert(Feed("v1", f"accounts/{ACCOUNT_ID}"), row)


def test_odd_record_is_kept_and_reported_once(task_setup: TaskSetup) -> None:
    """The summary counts it, one warning names it, and a second run reports nothing new."""
    _add_odd_record(task_setup, b'{"id":"odd","when":null}')
    log = Mock()
    summary = _land_with_log(task_setup, log)
    assert (summary["record_count"], summary["odd_record_count"]) == (301, 1)
    assert b'{"id":"odd","when":null}' in task_setup.lines()
    ((_, *values),) = _warnings_about_odd_records(log)
    assert (values[0], values[2]) == (1, {"time": 1})
    assert values[3].startswith("odd (time, 2026-10-26T")
    second_log = Mock()
    assert _land_with_log(task_setup, second_log)["odd_record_count"] == 1
    assert _warnings_about_odd_records(second_log) == []


def _warnings_about_odd_records(log: Mock) -> list[tuple[Any, ...]]:
    return [call.args for call in log.warning.call_args_list if "break the API's contract" in call.args[0]]


def _land_with_log(task_setup: TaskSetup, log: Mock) -> dict[str, Any]:
    operator = task_setup.operator(window_start=START, window_end=END)
    with patch.object(type(operator), "log", log):
        return operator.execute({})


def test_odd_record_fails_a_strict_task(task_setup: TaskSetup) -> None:
    """The task fails at once, names what to do, and writes nothing."""
    _add_odd_record(task_setup, b"null")
    with pytest.raises(AirflowException, match="Set odd_records to 'keep'"):
        task_setup.land(odd_records="fail")
    assert task_setup.tree() == {}


def test_unknown_choice_is_refused_while_the_dag_is_parsed(task_setup: TaskSetup) -> None:
    """Only keep and fail are choices."""
    with pytest.raises(ConfigurationError, match="Set it to 'keep' or 'fail'"):
        task_setup.operator(odd_records="drop")
