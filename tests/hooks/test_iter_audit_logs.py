"""Tests that the hook reads every log, blocking and async, by the API's own parameters."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_audit_provider.core.windows.readiness import retention_starts_at
from airflow_audit_provider.exceptions import ConfigurationError, RetentionExceededError
from airflow_audit_provider.testing.settings import ACCOUNT_ID, ORGANIZATION_ID
from tests.operators.task_setup import END, START, TaskSetup
from tests.pipelines.pull.landing import record_at

LOGS = [
    ({}, "v1", f"accounts/{ACCOUNT_ID}"),
    ({"scope": "user"}, "v1", "user"),
    ({"api_version": "v2"}, "v2", f"accounts/{ACCOUNT_ID}"),
    ({"api_version": "v2", "organization_id": ORGANIZATION_ID}, "v2", f"organizations/{ORGANIZATION_ID}"),
]
DAY: dict[str, Any] = {"since": START, "before": END}
V1_FILTERS = {
    "id": "id", "action_type": "action.type", "actor_email": "actor.email", "actor_ip": "actor.ip",
    "zone_name": "zone.name",
}  # fmt: skip
V2_NAMES = [
    "account_name", "action_result", "action_type", "actor_context", "actor_email", "actor_id", "actor_ip_address",
    "actor_token_id", "actor_token_name", "actor_type", "id", "raw_cf_ray_id", "raw_method", "raw_status_code",
    "raw_uri", "resource_id", "resource_product", "resource_type", "resource_scope", "zone_id", "zone_name",
]  # fmt: skip


def _read(task_setup: TaskSetup, **parameters: Any) -> list[dict[str, Any]]:
    return list(task_setup.hook().iter_audit_logs(**parameters))


def _aread(task_setup: TaskSetup, **parameters: Any) -> list[dict[str, Any]]:
    async def read() -> list[dict[str, Any]]:
        return [record async for record in task_setup.hook().aiter_audit_logs(**parameters)]

    return asyncio.run(read())


def _ids(records: list[dict[str, Any]]) -> list[str]:
    return [record["id"] for record in records]


@pytest.mark.parametrize(("parameters", "version", "scope"), LOGS)
def test_every_log_is_read_completely(
    task_setup: TaskSetup, parameters: dict[str, Any], version: str, scope: str
) -> None:
    """Reads the fake's true records for each version and scope, newest first by default."""
    truth = task_setup.ids(version, scope)
    assert len(truth) > 200
    assert _ids(_read(task_setup, **DAY, **parameters, direction="asc")) == truth
    assert _ids(_read(task_setup, **DAY, **parameters)) == truth[::-1]
    assert _aread(task_setup, **DAY, **parameters) == _read(task_setup, **DAY, **parameters)
    assert {asked.path.removeprefix("/client/v4/").rpartition(scope)[1] for asked in task_setup.fake.requests} == {
        scope
    }


def _params(task_setup: TaskSetup) -> list[tuple[str, str]]:
    return [(name, str(value)) for name, value in task_setup.fake.requests[-1].params]


@pytest.mark.parametrize(("python_name", "api_name"), V1_FILTERS.items())
def test_v1_filters_are_sent_under_their_api_names(task_setup: TaskSetup, python_name: str, api_name: str) -> None:
    """Sends each filter of version 1 under the API's own name, async too."""
    value = "192.0.2.0/24" if python_name == "actor_ip" else "x&=é"
    for read in (_read, _aread):
        read(task_setup, **DAY, page=1, **{python_name: value})
        assert (api_name, value) in _params(task_setup)


@pytest.mark.parametrize("hide", [True, False])
def test_hide_user_logs_is_sent_as_lower_case_boolean(task_setup: TaskSetup, hide: bool) -> None:
    """Sends the flag as the API writes booleans."""
    _read(task_setup, **DAY, page=1, hide_user_logs=hide)
    assert ("hide_user_logs", str(hide).lower()) in _params(task_setup)


@pytest.mark.integration
@pytest.mark.parametrize("name", V2_NAMES)
def test_v2_filters_and_negations_are_sent_once_per_value(task_setup: TaskSetup, name: str) -> None:
    """Sends each filter of version 2, and its ``_not`` filter, once for each value."""
    given = {name: ["1", "2"], f"{name}_not": "3"}
    _read(task_setup, **DAY, api_version="v2", limit=10, **given)
    sent = [(key, value) for key, value in _params(task_setup) if key.startswith(name)]
    assert sent == [(name, "1"), (name, "2"), (f"{name}.not", "3")]


def test_negated_filter_selects_all_other_records(task_setup: TaskSetup) -> None:
    """A filter and its ``_not`` filter divide a day's records between them."""
    day = {**DAY, "api_version": "v2"}
    one, rest = _read(task_setup, **day, raw_method="POST"), _read(task_setup, **day, raw_method_not="POST")
    assert one
    assert rest
    assert sorted(_ids(one) + _ids(rest)) == sorted(task_setup.ids("v2"))


def test_product_category_is_sent_unchanged(task_setup: TaskSetup) -> None:
    """Sends the category of version 2 unchanged."""
    _read(task_setup, **DAY, api_version="v2", product_category="dns")
    assert ("product_category", "dns") in _params(task_setup)


def test_page_argument_sends_one_request(task_setup: TaskSetup) -> None:
    """Yields exactly that page, as the API returns it."""
    pages = [_ids(_read(task_setup, **DAY, page=number, per_page=50)) for number in (1, 2)]
    assert len(task_setup.fake.requests) == 2
    assert [len(page) for page in pages] == [50, 50]
    assert set(pages[0] + pages[1]) <= set(task_setup.ids()) | {
        record["id"] for record in _read(task_setup, **DAY, page=1)
    }
    assert not set(pages[0]) & set(pages[1])


def test_cursor_argument_sends_one_request(task_setup: TaskSetup) -> None:
    """Yields exactly the page of the cursor."""
    hook = task_setup.hook()
    params = {"since": "2026-10-26T00:00:00Z", "before": "2026-10-27T00:00:00Z", "limit": "50", "direction": "desc"}
    first = hook.get_conn().get(f"accounts/{ACCOUNT_ID}/logs/audit", params=params).json()
    cursor = first["result_info"]["cursor"]
    second = _ids(list(hook.iter_audit_logs(**DAY, api_version="v2", limit=50, cursor=cursor)))
    assert second == task_setup.ids("v2")[::-1][50:100]
    assert len(task_setup.fake.requests) == 2


@pytest.mark.parametrize(
    ("parameters", "sent"), [({"per_page": 7}, "per_page"), ({"api_version": "v2", "limit": 7}, "limit")]
)
def test_page_size_is_sent_and_changes_no_result(task_setup: TaskSetup, parameters: dict[str, Any], sent: str) -> None:
    """Sends the page size; any size gives the same records."""
    version = parameters.get("api_version", "v1")
    end = START + timedelta(hours=6)
    found = _read(task_setup, since=START, before=end, direction="asc", **parameters)
    assert (sent, "7") in [(name, str(value)) for name, value in task_setup.fake.requests[0].params]
    assert _ids(found) == [row.id for row in task_setup.fake.truth(version, None, START, end)]


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"limit": 5}, "per_page"),
        ({"cursor": "x"}, "page"),
        ({"api_version": "v2", "page": 2}, "cursor"),
        ({"api_version": "v2", "per_page": 2}, "limit"),
        ({"per_page": 0}, "1 to 1000"),
        ({"per_page": 1001}, "1 to 1000"),
        ({"per_page": True}, "1 to 1000"),
        ({"page": 0}, "page is 0"),
        ({"direction": "up"}, "'asc'"),
        ({"actor_name": "x"}, "no filter 'actor_name'"),
        ({"raw_method": "GET"}, "raw_method.*api_version"),
        ({"before": "2020-01-01", "since": "2021-01-01"}, "later than the start"),
        ({"organization_id": "x/../y", "api_version": "v2"}, "malformed"),
        ({"export": True, "api_version": "v2"}, "no CSV export"),
        ({"export": True, "page": 3}, "page"),
    ],
)
def test_invalid_parameter_fails_before_any_request(
    task_setup: TaskSetup, parameters: dict[str, Any], words: str
) -> None:
    """Rejects an unknown parameter, or an invalid value, without a request."""
    with pytest.raises(ConfigurationError, match=words):
        _read(task_setup, **parameters)
    assert task_setup.fake.requests == []


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_bounds_are_half_open_to_the_microsecond(task_setup: TaskSetup, version: str) -> None:
    """Includes the record at since and excludes the one at before, to the microsecond."""
    for micros in (499_999, 500_000, 500_001, 999_999):
        task_setup.fake.add(record_at(f"2026-10-26T05:05:05.{micros:06}Z", f"at-{micros}", version), version)
    bounds = [datetime(2026, 10, 26, 5, 5, 5, micros, tzinfo=UTC) for micros in (500_000, 999_999)]
    found = _ids(_read(task_setup, since=bounds[0], before=bounds[1], api_version=version, direction="asc"))
    assert [name for name in found if name.startswith("at-")] == ["at-500000", "at-500001"]


def test_read_without_bounds_covers_the_retention(task_setup: TaskSetup) -> None:
    """Requests more than the retention, up to now."""
    newest = _read(task_setup, page=1, per_page=1)
    since = dict(_params(task_setup))["since"]
    assert since == "2025-04-29T12:00:00Z"
    assert newest
    assert dict(_params(task_setup))["before"] >= "2026-11-02T12:00:01Z"


@pytest.mark.integration
def test_nested_filters_read_what_the_flat_ones_do(task_setup: TaskSetup) -> None:
    """``actor={"email": …}`` selects the records that ``actor_email=…`` selects, blocking and not."""
    for version, path in (("v1", ("actor", "email")), ("v2", ("action", "type"))):
        record = _read(task_setup, **DAY, api_version=version)[0]
        value = record[path[0]][path[1]]
        flat = _read(task_setup, **DAY, api_version=version, **{"_".join(path): value})
        assert flat
        assert _read(task_setup, **DAY, api_version=version, **{path[0]: {path[1]: value}}) == flat
        assert _aread(task_setup, **DAY, api_version=version, **{path[0]: {path[1]: value}}) == flat


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize(
    ("since", "before"), [("2024-01-01", "2024-02-01"), ("2024-01-01", END), ("2025-04-30", "2025-05-01")]
)
def test_range_beyond_retention_is_refused(task_setup: TaskSetup, version: str, since: str, before: Any) -> None:
    """A range that the API no longer keeps, in whole or at its beginning, raises instead of yielding fewer records."""
    parameters = {"since": since, "before": before, "api_version": version}
    for read in (_read, _aread):
        with pytest.raises(RetentionExceededError, match="18 months"):
            read(task_setup, **parameters)
    if version == "v1":
        with pytest.raises(RetentionExceededError):
            list(task_setup.hook().export_audit_logs(since=since, before=before))
    assert task_setup.fake.requests == []


def test_everything_kept_is_read_without_since(task_setup: TaskSetup) -> None:
    """Neither the default range nor one that starts 18 months ago is refused."""
    start = retention_starts_at(task_setup.clock.now())
    for parameters in ({}, {"since": start}, {"since": start - timedelta(seconds=30)}):
        page = _read(task_setup, **parameters, per_page=1, page=1)
        assert len(page) == 1


@pytest.mark.integration
def test_version_2_range_before_its_history_is_refused(task_setup: TaskSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    """Version 2 has nothing before 2026-03-10, or before the day that is configured; version 1 has."""
    january = {"since": "2026-01-05", "before": "2026-01-06"}
    for read in (_read, _aread):
        with pytest.raises(RetentionExceededError, match=r"history of version 2.*api_version='v1'"):
            read(task_setup, **january, api_version="v2")
    assert task_setup.fake.requests == []
    assert _read(task_setup, **january)
    monkeypatch.setenv("AIRFLOW__CLOUDFLARE_AUDIT_LOGS__V2_HISTORY_START", "2026-01-01")
    assert _read(task_setup, **january, api_version="v2")
