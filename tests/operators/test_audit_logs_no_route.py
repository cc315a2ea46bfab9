"""Tests that status 400 with Cloudflare's code 7003 ("no route") fails the task and commits nothing, at any request.

A plain status 400 can be the end of the data in offset paging. Code 7003 never is: it means that the account was not
found.
"""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_audit_provider.exceptions import ConfigurationError
from airflow_audit_provider.hooks.cloudflare import CloudflareHook
from airflow_audit_provider.testing.settings import ACCOUNT_ID
from airflow_audit_provider.testing.transport import FakeTransport
from tests.operators.task_setup import WINDOW, TaskSetup
from tests.pipelines.pull.landing import record_at

NO_ROUTE = {"success": False, "errors": [{"code": 7003, "message": "Could not route"}], "result": None}
Condition = Callable[[httpx.QueryParams], bool]


class NoRouteTransport(FakeTransport):
    """Transport of the fake that returns status 400 with code 7003 for the requests that meet a condition."""

    def __init__(self, task_setup: TaskSetup, is_refused: Condition) -> None:
        super().__init__(task_setup.fake, task_setup.clock)
        self.is_refused = is_refused
        self.answered_count = self.refused_count = 0

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if self.is_refused(request.url.params):
            self.refused_count += 1
            return httpx.Response(400, json=NO_ROUTE, headers={"cf-ray": "ray7"})
        self.answered_count += 1
        return super()._answer(request)


def fail_to_land(task_setup: TaskSetup, is_refused: Condition, version: str = "v1") -> NoRouteTransport:
    """Runs the operator; asserts that it fails permanently with ``ConfigurationError`` and leaves no file."""
    transport = NoRouteTransport(task_setup, is_refused)
    # One request at a time, so that the refused request is the same in every run.
    operator = task_setup.operator(**WINDOW, api_version=version, concurrency=1)
    operator.hook = CloudflareHook(transport=transport, clock=task_setup.clock)
    with pytest.raises(AirflowFailException) as caught:
        operator.execute({})
    cause = caught.value.__context__
    assert isinstance(cause, ConfigurationError)
    assert "status 400, ray ray7" in str(cause)
    assert ACCOUNT_ID in str(cause)
    assert transport.refused_count == 1
    assert not list(task_setup.destination.rglob("*"))
    return transport


def add_records_of_one_second(task_setup: TaskSetup, count: int, version: str) -> None:
    """Adds so many records of one second, more than one page holds."""
    for number in range(count):
        task_setup.fake.add(record_at("2026-10-26T12:00:00.5Z", f"same-second-{number:04}", version), version)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_no_route_at_first_request_fails_without_retry(task_setup: TaskSetup, version: str) -> None:
    """The first request is refused: no second request is sent."""
    assert fail_to_land(task_setup, lambda _params: True, version).answered_count == 0


@pytest.mark.integration
@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("answered_before", [1, 2, 3])
def test_no_route_at_later_page_commits_nothing(
    answered_before: int, version: str, task_setup: TaskSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No record of the pages before the refusal is published, and a later run writes every record."""
    large = TaskSetup(monkeypatch, task_setup.destination, records_per_day=3500)
    remaining = iter(range(answered_before))
    assert fail_to_land(large, lambda _params: next(remaining, None) is None, version).answered_count == answered_before
    large.land(api_version=version)
    assert large.lines() == large.raws(version)


@pytest.mark.integration
@pytest.mark.parametrize("refused_page", [2, 3])
def test_no_route_in_offset_paging_is_not_the_end(refused_page: int, task_setup: TaskSetup) -> None:
    """A page of one second is refused: the rows before it are not taken for all rows of the second."""
    add_records_of_one_second(task_setup, 2500, "v1")
    transport = fail_to_land(task_setup, lambda params: int(params.get("page", "1")) >= refused_page)
    assert transport.answered_count >= refused_page - 1
    task_setup.land()
    assert task_setup.lines() == task_setup.raws()


@pytest.mark.integration
def test_no_route_at_cursor_commits_nothing(task_setup: TaskSetup) -> None:
    """A request with a cursor is refused: the rows before it are not taken for all rows of the second."""
    add_records_of_one_second(task_setup, 2500, "v2")
    assert fail_to_land(task_setup, lambda params: "cursor" in params, "v2").answered_count > 0
    task_setup.land(api_version="v2")
    assert task_setup.lines() == task_setup.raws("v2")
