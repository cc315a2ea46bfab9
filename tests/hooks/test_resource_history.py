"""Tests of the hook's two other endpoints of version 2: resource histories and product categories."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_audit_provider.exceptions import (
    ConfigurationError,
    SourceAuthError,
    SourceProtocolError,
    SourceUnavailableError,
)
from airflow_audit_provider.hooks.parameters import ResourceHistory
from airflow_audit_provider.testing.changes import SeededChange, seeded_changes
from airflow_audit_provider.testing.instants import SECOND_NS, to_ns
from airflow_audit_provider.testing.settings import ACCOUNT_ID, ORGANIZATION_ID
from airflow_audit_provider.testing.shapes_v2 import CATEGORIES
from tests.operators.task_setup import END, START, TaskSetup
from tests.testing.fake_requests import as_id

FIRST_NS = to_ns(START)


@pytest.fixture
def task_setup(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> TaskSetup:
    """A setup whose log has no records but those that a test adds: a history goes back eighteen months."""
    return TaskSetup(monkeypatch, tmp_path, records_per_day=0)


def _changes(task_setup: TaskSetup, count: int = 40, scope: str | None = None) -> list[SeededChange]:
    """Adds changes to the fake, one every five minutes of the default day."""
    changes = seeded_changes(7, [FIRST_NS + number * 300 * SECOND_NS for number in range(count)])
    for change in changes:
        task_setup.fake.add(change.raw, "v2", scope)
    return changes


def _of_one_resource(changes: list[SeededChange]) -> list[str]:
    return [change.record_id for change in changes if change.resource_id == changes[-1].resource_id]


def _time(change: SeededChange) -> str:
    return as_id(change.raw)[1]


def _history(task_setup: TaskSetup, change: SeededChange, **parameters: Any) -> ResourceHistory:
    return task_setup.hook().resource_history(change.record_id, _time(change), **parameters)


def test_resource_history_is_complete_in_both_forms(task_setup: TaskSetup) -> None:
    """Both forms return each record of the resource once, newest first, and the API's statement about them."""
    changes = _changes(task_setup)
    wanted = _of_one_resource(changes)
    found = _history(task_setup, changes[-1])
    assert ([record["id"] for record in found.records], found.status) == (wanted[::-1], "exact")
    assert len(wanted) > 5
    hook = task_setup.hook()
    assert asyncio.run(hook.aresource_history(changes[-1].record_id, _time(changes[-1]))) == found


def test_resource_history_request_has_the_documented_parameters(task_setup: TaskSetup) -> None:
    """The first request has the path and the parameters of the API's documentation."""
    change = _changes(task_setup)[-1]
    _history(task_setup, change, since="2026-10-01", before="2026-10-27", direction="asc", limit=50)
    asked = task_setup.fake.requests[0]
    assert asked.path == f"/client/v4/accounts/{ACCOUNT_ID}/logs/audit/{change.record_id}/history"
    assert {name for name, _ in asked.params} == {"action_time", "since", "before", "direction", "limit"}
    assert ("action_time", _time(change)) in asked.params
    assert ("since", "2026-09-30T23:59:59Z") in asked.params


@pytest.mark.parametrize("limit", [1, 3, 1000])
@pytest.mark.parametrize("direction", ["asc", "desc"])
def test_resource_history_is_complete_with_small_pages(task_setup: TaskSetup, limit: int, direction: str) -> None:
    """Pages of any size give the same records, in either direction."""
    changes = _changes(task_setup)
    found = _history(task_setup, changes[-1], limit=limit, direction=direction)
    wanted = _of_one_resource(changes)
    assert [record["id"] for record in found.records] == (wanted if direction == "asc" else wanted[::-1])


@pytest.mark.parametrize(
    "spec",
    [
        "rate_limited=5,endpoint=history,first=2",
        "status=503,endpoint=history,every=2",
        "missing_cursor,endpoint=history",
        "fewer_than_asked=2,endpoint=history",
        "page_ceiling=4,endpoint=history",
        "empty_page,endpoint=history",
        "repeated_cursor,endpoint=history,first=3",
        "cursor_expires=1,endpoint=history",
        "ignored_not,endpoint=history",
        "html,endpoint=history,first=1",
        "truncated_json,endpoint=history,first=1",
    ],
)
def test_resource_history_survives_a_misbehaving_api(task_setup: TaskSetup, spec: str) -> None:
    """What the API does wrong for a while, or with its pages, changes nothing about the records."""
    changes = _changes(task_setup)
    task_setup.misbehave(spec)
    found = _history(task_setup, changes[-1], limit=10)
    assert [record["id"] for record in found.records] == _of_one_resource(changes)[::-1]


def test_resource_history_of_an_organization_is_read_from_its_log(task_setup: TaskSetup) -> None:
    """An organization has the endpoint too, with its own records."""
    changes = _changes(task_setup, scope=f"organizations/{ORGANIZATION_ID}")
    found = _history(task_setup, changes[-1], organization_id=ORGANIZATION_ID)
    assert [record["id"] for record in found.records] == _of_one_resource(changes)[::-1]
    assert "/organizations/" in task_setup.fake.requests[0].path


@pytest.mark.parametrize("status", ["approximate", "unavailable", "not_found"])
def test_resource_history_keeps_what_the_api_states(task_setup: TaskSetup, status: str) -> None:
    """A weaker identification is stated, and a record without a resource has no history after one request."""
    changes = _changes(task_setup)
    task_setup.misbehave(f"history_status={status}")
    found = _history(task_setup, changes[-1])
    assert found.status == status
    assert bool(found.records) is (status == "approximate")
    if status != "approximate":
        assert len(task_setup.fake.requests) == 1


def test_resource_history_of_an_expired_record_is_not_found(task_setup: TaskSetup) -> None:
    """A record that the API no longer keeps is not found; older records of its resource are left out."""
    changes = _changes(task_setup)
    first, last = changes[0], changes[-1]
    task_setup.clock.advance((START + timedelta(days=548, hours=2) - task_setup.clock.now()).total_seconds())
    assert _history(task_setup, first).status == "not_found"
    left = [change for change in changes if change.time_ns >= FIRST_NS + 7200 * SECOND_NS]
    assert [record["id"] for record in _history(task_setup, last).records] == _of_one_resource(left)[::-1]


@pytest.mark.parametrize(
    ("spec", "error", "text"),
    [
        ("status=403,endpoint=history", SourceAuthError, "The credential may not read the resource history of record"),
        ("status=404,endpoint=history", ConfigurationError, "Cloudflare cannot find the resource history of record"),
        ("status=400,endpoint=history", SourceProtocolError, "The API refused the request"),
        ("status=500,endpoint=history", SourceUnavailableError, "The API is not available"),
    ],
)
def test_resource_history_error_names_the_history(
    task_setup: TaskSetup, spec: str, error: type[Exception], text: str
) -> None:
    """An error that retrying does not fix says which history could not be read."""
    change = _changes(task_setup)[-1]
    task_setup.misbehave(spec)
    with pytest.raises(error, match=text):
        _history(task_setup, change, limit=3)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("../../user", "2026-10-26T00:00:00Z"), "is not an id of version 2"),
        (("", "2026-10-26T00:00:00Z"), "is not an id of version 2"),
        (("a" * 32, "yesterday"), "is not an RFC 3339 time"),
    ],
)
def test_resource_history_argument_that_is_wrong_is_refused(
    task_setup: TaskSetup, arguments: tuple[str, str], text: str
) -> None:
    """An id that is none could lead to another path, and is refused before any request."""
    with pytest.raises(ConfigurationError, match=text):
        task_setup.hook().resource_history(*arguments)
    assert task_setup.fake.requests == []


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"actor_email": "a@example.com"}, "The resource history has no filters"),
        ({"cursor": "abc"}, "is returned as a whole"),
        ({"per_page": 10}, "has no parameter 'per_page'"),
    ],
)
def test_resource_history_parameter_of_another_endpoint_is_refused(
    task_setup: TaskSetup, parameters: dict[str, Any], text: str
) -> None:
    """A parameter that the endpoint does not have is refused before any request."""
    with pytest.raises(ConfigurationError, match=text):
        task_setup.hook().resource_history("a" * 32, "2026-10-26T00:00:00Z", **parameters)
    assert task_setup.fake.requests == []


def test_product_categories_are_those_of_the_api_in_both_forms(task_setup: TaskSetup) -> None:
    """Both forms return the categories with their products, by one request each."""
    found = task_setup.hook().product_categories()
    assert {entry["value"]: {one["value"]: one["label"] for one in entry["products"]} for entry in found} == {
        name: products for name, (_, products) in CATEGORIES.items()
    }
    assert asyncio.run(task_setup.hook().aproduct_categories()) == found
    assert len(task_setup.fake.requests) == 2


def test_product_categories_are_read_again_after_a_rate_limit(task_setup: TaskSetup) -> None:
    """The list is requested like any page: a rate limit and an outage are waited for."""
    task_setup.misbehave("rate_limited=5,endpoint=categories,first=1", "status=502,endpoint=categories,first=2")
    assert len(task_setup.hook().product_categories(ACCOUNT_ID)) == len(CATEGORIES)
    assert len(task_setup.fake.requests) == 3


def test_product_categories_of_an_organization_are_refused(task_setup: TaskSetup) -> None:
    """Organizations have no product categories, which is said before any request."""
    task_setup.connect(extra={"organization_id": ORGANIZATION_ID})
    with pytest.raises(ConfigurationError, match="account_id"):
        task_setup.hook().product_categories()
    assert task_setup.fake.requests == []


def _aread_first(task_setup: TaskSetup, filters: Any) -> None:
    async def read() -> None:
        await anext(task_setup.hook().aiter_audit_logs(api_version="v2", **filters))

    asyncio.run(read())


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ("zerotrst", "Did you mean 'zerotrust'?"),
        ("Zero Trust", "Did you mean 'zerotrust'?"),
        ("stream", "'stream' is a product of the category 'developer'"),
        ("???", "Give one of 'account', 'developer', 'dns', 'zerotrust'."),
    ],
)
def test_unknown_category_is_refused_before_the_first_page(task_setup: TaskSetup, given: str, advice: str) -> None:
    """An unknown category is an error with the nearest name in every reader, which requests no page."""
    filters: Any = {"product_category": ["dns", given]}
    with pytest.raises(ConfigurationError, match=re.escape(advice)):
        next(task_setup.hook().iter_audit_logs(api_version="v2", **filters))
    with pytest.raises(ConfigurationError, match=re.escape(advice)):
        _aread_first(task_setup, filters)
    with pytest.raises(AirflowFailException, match=re.escape(advice)):
        task_setup.land(api_version="v2", filters=filters)
    assert {asked.path.rpartition("/")[2] for asked in task_setup.fake.requests} == {"product_categories"}


def test_known_category_is_checked_once_for_all_readings(task_setup: TaskSetup) -> None:
    """A hook requests the categories once, and accepts them in any case as the API does."""
    hook = task_setup.hook()
    for given in ("DNS", ["dns", "ZeroTrust"]):
        list(hook.iter_audit_logs(api_version="v2", since=START, before=END, product_category=given))
    paths = [asked.path.rpartition("/")[2] for asked in task_setup.fake.requests]
    assert paths.count("product_categories") == 1
    assert paths.count("audit") >= 2


@pytest.mark.parametrize("spec", ["status=404", "status=403", "status=500", "rate_limited=60", "html", "success_false"])
def test_missing_category_list_stops_no_pull(
    task_setup: TaskSetup, capsys: pytest.CaptureFixture[str], spec: str
) -> None:
    """An account whose API does not list its categories is pulled all the same, with one warning."""
    _changes(task_setup)
    task_setup.misbehave(f"{spec},endpoint=categories")
    hook = task_setup.hook()
    for _ in range(2):
        found = list(hook.iter_audit_logs(api_version="v2", since=START, before=END, product_category="dns"))
        assert len(found) == 40
    assert capsys.readouterr().out.count("The product categories cannot be read") == 1
