"""Responses that are no page are waited out like a 502, and what lasts is left to Airflow's retries."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from airflow_audit_provider.exceptions import SourceUnavailableError
from airflow_audit_provider.hooks.cloudflare import CloudflareHook
from airflow_audit_provider.testing.settings import TOKEN
from airflow_audit_provider.testing.transport import FakeTransport
from tests.operators.task_setup import TaskSetup

TRANSIENT = [
    "html=200",
    "success_false",
    "truncated_json",
    *[f"status={n}" for n in (202, 203, 204, 206, 409, 421, 502)],
]
Replace = Callable[[httpx.Response], httpx.Response]


class _Replacing(httpx.BaseTransport):
    """The fake's transport with another response in place of each of the first ``count``."""

    def __init__(self, task_setup: TaskSetup, replace: Replace, count: int) -> None:
        self._fake = FakeTransport(task_setup.fake, task_setup.clock)
        self._replace = replace
        self._remaining = count

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Returns the fake's response or what replaces it."""
        response = self._fake.handle_request(request)
        self._remaining -= 1
        return self._replace(response) if self._remaining >= 0 else response


def _hook(task_setup: TaskSetup, replace: Replace, count: int) -> CloudflareHook:
    return CloudflareHook(transport=_Replacing(task_setup, replace, count), clock=task_setup.clock)


@pytest.mark.integration
@pytest.mark.parametrize("spec", TRANSIENT)
def test_seven_transient_responses_in_a_row_land_everything(task_setup: TaskSetup, spec: str) -> None:
    """The eighth attempt of the same request is the last, and its page lands as if nothing had happened."""
    task_setup.misbehave(f"{spec},first=7")
    assert task_setup.land()["record_count"] == len(task_setup.ids())


@pytest.mark.parametrize("spec", TRANSIENT)
def test_lasting_transient_response_is_left_to_the_retries_of_airflow(task_setup: TaskSetup, spec: str) -> None:
    """The task fails with a retryable error, never with ``AirflowFailException``, and nothing lands."""
    task_setup.misbehave(spec)
    with pytest.raises(SourceUnavailableError):
        task_setup.land()
    assert task_setup.tree() == {}


def test_empty_body_is_waited_out(task_setup: TaskSetup) -> None:
    """A 200 without a body is no page, and not the end of the log."""
    operator = task_setup.operator(window_start="2026-10-26", window_end="2026-10-27")
    operator.hook = _hook(task_setup, lambda _: httpx.Response(200, content=b""), count=7)
    assert operator.execute({})["record_count"] == len(task_setup.ids())


@pytest.mark.parametrize("date", ["Thu, 01 Jan 1970 00:00:07 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_date_of_1970_is_not_believed(task_setup: TaskSetup, date: str) -> None:
    """A date that no server can have does not make a window of last month unsettled."""

    def dated(response: httpx.Response) -> httpx.Response:
        response.headers["date"] = date
        return response

    operator = task_setup.operator(window_start="2026-10-26", window_end="2026-10-27")
    operator.hook = _hook(task_setup, dated, count=1000)
    assert operator.execute({})["record_count"] == len(task_setup.ids())


def test_maintenance_page_does_not_make_a_good_token_invalid(task_setup: TaskSetup) -> None:
    """The connection test says that the API is not available, not that the token is to be replaced."""
    passed, sentence = _hook(task_setup, lambda _: httpx.Response(200, html="<html>"), count=1000).test_connection()
    assert not passed
    assert "Retry later" in sentence
    assert "new token" not in sentence
    assert TOKEN not in sentence
