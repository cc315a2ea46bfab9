"""Tests that invalid numbers are rejected by argument name before any request."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from airflow_audit_provider.exceptions import ConfigurationError
from airflow_audit_provider.testing.settings import ACCOUNT_ID
from tests.operators.task_setup import TaskSetup

NO_COUNTS = [0, -1, True, False, 1.5, math.nan, math.inf, "4"]
NO_PAGE_SIZES = [0, -1, 1001, 5000, True, 1.5, math.nan, "100"]
NO_LENGTHS = [timedelta(0), timedelta(seconds=-1), 3600, math.nan, "a day"]
NO_EXTRA_COUNTS = [0, -1, True, False, 1.5, math.nan, math.inf, "nan", "inf", "-1", "many", [], {}]
NO_EXTRA_NUMBERS = [0, -0.5, True, False, math.nan, math.inf, "nan", "-inf", "soon", []]
SINCE: dict[str, Any] = {"since": "2026-10-26", "before": "2026-10-27"}


def _refusal(task_setup: TaskSetup, attempt: Callable[[], Any]) -> str:
    """Returns the message of the ``ConfigurationError``; asserts that nothing was requested or written."""
    with pytest.raises(ConfigurationError) as caught:
        attempt()
    assert task_setup.fake.requests == []
    assert task_setup.tree() == {}
    assert caught.value.message.endswith(".")
    return caught.value.message


@pytest.mark.parametrize("number", [*NO_COUNTS, 65, 1000])
def test_invalid_concurrency_is_rejected(task_setup: TaskSetup, number: Any) -> None:
    """Accepts only whole numbers from 1 to 64."""
    assert "concurrency" in _refusal(task_setup, lambda: task_setup.operator(concurrency=number))


@pytest.mark.parametrize("number", [*NO_COUNTS, 1000, 2.0**21])
def test_invalid_part_size_is_rejected(task_setup: TaskSetup, number: Any) -> None:
    """Accepts only a whole number of bytes of at least one mebibyte."""
    assert "max_part_bytes" in _refusal(task_setup, lambda: task_setup.operator(max_part_bytes=number))


@pytest.mark.parametrize("length", NO_LENGTHS)
def test_invalid_window_length_is_rejected(task_setup: TaskSetup, length: Any) -> None:
    """Accepts only a positive timedelta."""
    assert "window_length" in _refusal(task_setup, lambda: task_setup.operator(window_length=length))


@pytest.mark.parametrize("delay", NO_LENGTHS[1:])
def test_invalid_settle_delay_is_rejected(task_setup: TaskSetup, delay: Any) -> None:
    """Accepts only a timedelta of zero or more."""
    assert "settle_delay" in _refusal(task_setup, lambda: task_setup.operator(settle_delay=delay))


@pytest.mark.parametrize(("version", "name"), [("v1", "per_page"), ("v2", "limit")])
@pytest.mark.parametrize("number", NO_PAGE_SIZES)
def test_invalid_page_size_is_rejected(task_setup: TaskSetup, version: str, name: str, number: Any) -> None:
    """Accepts only page sizes from 1 to 1000."""
    parameters = {"api_version": version, name: number, **SINCE}
    assert "page size" in _refusal(task_setup, lambda: list(task_setup.hook().iter_audit_logs(**parameters)))


@pytest.mark.parametrize("number", [0, -1, True, 1.5, math.nan, "2"])
def test_invalid_page_number_is_rejected(task_setup: TaskSetup, number: Any) -> None:
    """Accepts only page numbers from 1."""
    assert "page" in _refusal(task_setup, lambda: list(task_setup.hook().iter_audit_logs(page=number, **SINCE)))


@pytest.mark.parametrize("name", ["rate_limit_requests", "max_attempts"])
@pytest.mark.parametrize("number", NO_EXTRA_COUNTS)
def test_invalid_count_in_extra_is_rejected(task_setup: TaskSetup, name: str, number: Any) -> None:
    """Accepts only whole numbers of at least one for counts in the extra."""
    task_setup.connect(extra={"account_id": ACCOUNT_ID, name: number})
    assert name in _refusal(task_setup, task_setup.hook().reader)


@pytest.mark.parametrize("name", ["rate_limit_seconds", "timeout_seconds", "max_retry_seconds"])
@pytest.mark.parametrize("number", NO_EXTRA_NUMBERS)
def test_invalid_number_in_extra_is_rejected(task_setup: TaskSetup, name: str, number: Any) -> None:
    """Accepts only positive, finite numbers for seconds in the extra."""
    task_setup.connect(extra={"account_id": ACCOUNT_ID, name: number})
    assert name in _refusal(task_setup, task_setup.hook().reader)


@pytest.mark.parametrize("number", [*NO_COUNTS, None])
def test_invalid_minimum_count_is_rejected(task_setup: TaskSetup, number: Any) -> None:
    """Accepts only whole numbers of at least one."""
    assert "minimum_count" in _refusal(task_setup, lambda: task_setup.sensor(minimum_count=number))
