"""Tests that values that Airflow renders later are not judged at DAG parse, wherever in an argument they stand."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.sdk import DAG, task

from airflow_audit_provider._airflow.arguments import is_rendered
from airflow_audit_provider.exceptions import ConfigurationError
from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator
from airflow_audit_provider.operators.seal import CloudflareAuditLogsSealOperator
from airflow_audit_provider.operators.warehouses import CloudflareAuditLogsToIcebergOperator
from airflow_audit_provider.sensors.audit_logs import CloudflareAuditLogActivitySensor
from tests.operators.task_setup import WINDOW, TaskSetup

JINJA = "{{ params.x }}"


@task
def who() -> str:
    """Returns a value that is known in a run only."""
    return "a@example.com"


class WithTemplateFields:
    """An object that Airflow renders in place."""

    template_fields = ("text",)
    text = JINJA


def _land(**arguments: Any) -> Any:
    return CloudflareAuditLogsToObjectStorageOperator(task_id="land", destination="file:///data/x", **arguments)


def _look(**arguments: Any) -> Any:
    return CloudflareAuditLogActivitySensor(task_id="look", **arguments)


FILTERS = [
    lambda later: {"actor_email": later},
    lambda later: {"actor_email": [later, "b@example.com"]},
    lambda later: {"actor": {"email": later}},
    lambda later: {"actor": later},
    lambda later: {"actor_email": {"not": later}, "id": "1"},
    lambda later: {"resource": {"type": ("dns", later)}},
    lambda later: {"hide_user_logs": later},
    lambda later: {"zone": later, "id": later},
]


@pytest.mark.parametrize("operator", [_land, _look])
@pytest.mark.parametrize("filters", FILTERS)
@pytest.mark.parametrize("kind", ["xcom", "item", "jinja", "object"])
def test_filter_with_a_later_value_parses(operator: Any, filters: Any, kind: str) -> None:
    """The output of a task, an item of it, a template and an object with template fields are values of any filter."""
    with DAG("d", schedule=None, start_date=datetime(2026, 11, 1, tzinfo=UTC)):
        output: Any = who()
        later = {"xcom": output, "item": output["x"], "jinja": JINJA, "object": WithTemplateFields()}[kind]
        given = filters(later)
        version = "v2" if {"resource"} & given.keys() or isinstance(given.get("actor_email"), dict | list) else "v1"
        made = operator(filters=given, api_version=version)
    assert made.upstream_task_ids == ({"who"} if kind in ("xcom", "item") else set())
    assert made.filters == given


@pytest.mark.parametrize("operator", [_land, _look])
@pytest.mark.parametrize("name", ["actor_mail", "actor_emial", "zon", "foo"])
def test_unknown_filter_with_a_later_value_is_refused(operator: Any, name: str) -> None:
    """A name is known when a DAG is parsed."""
    with pytest.raises(ConfigurationError, match=f"has no filter '{name}'"):
        operator(filters={name: JINJA})


@pytest.mark.parametrize(
    "privacy",
    [
        lambda later: {"conn_id": later},
        lambda later: {"conn_id": later, "pseudonymise": later},
        lambda later: {"conn_id": "key", "pseudonymise": [later]},
        lambda later: {"drop": later},
        lambda later: {"drop": ["actor.ip", later]},
        lambda later: {"name": later, "drop": ["actor.ip"]},
    ],
)
@pytest.mark.parametrize("kind", ["xcom", "jinja"])
def test_privacy_with_a_later_value_parses(privacy: Any, kind: str) -> None:
    """The rule is judged when its values are known."""
    with DAG("d", schedule=None, start_date=datetime(2026, 11, 1, tzinfo=UTC)):
        given = privacy(who() if kind == "xcom" else JINJA)
        assert _land(privacy=given).privacy == given


def test_other_arguments_with_a_later_value_parse() -> None:
    """So do lists and dicts of the other operators."""
    with DAG("d", schedule=None, start_date=datetime(2026, 11, 1, tzinfo=UTC)):
        output: Any = who()
        seal = CloudflareAuditLogsSealOperator(task_id="seal", destination=output, accept_replaced=[output, JINJA])
        load = CloudflareAuditLogsToIcebergOperator(
            task_id="load", destination=output, catalog_properties={"uri": output, "s3.key": JINJA}
        )
        land = _land(account_id=output, window_start=output, replace=True, erase=True, erase_reason=output)
    assert seal.upstream_task_ids == load.upstream_task_ids == land.upstream_task_ids == {"who"}


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"actor_email": ["a", "b"]}, "takes one value"),
        ({"actor": {"emial": "a"}}, "no filter 'actor.emial'"),
        ({"actor": "a"}, "no filter 'actor'"),
        ({"actor_email": ""}, "Give a non-empty string"),
        ({"actor_email": object()}, "Give a non-empty string"),
    ],
)
def test_rendered_filter_is_checked_in_the_run(task_setup: TaskSetup, filters: Any, message: str) -> None:
    """What is invalid after rendering fails at once, for operator and sensor, before any request."""
    for made in (task_setup.operator(**WINDOW, filters={"id": JINJA}), task_setup.sensor(filters={"id": JINJA})):
        made.filters = filters
        with pytest.raises(AirflowFailException, match=message):
            made.execute({})
    assert task_setup.fake.requests == []


@pytest.mark.integration
def test_rendered_privacy_is_checked_in_the_run(task_setup: TaskSetup) -> None:
    """So is a privacy rule, also against the filters."""
    operator = task_setup.operator(**WINDOW, filters={"actor_ip": JINJA}, privacy={"drop": JINJA})
    operator.filters = {"actor_ip": "192.0.2.1"}
    for drop, message in (("actor.ip", "Give a list of strings"), (["actor.ip"], "would be in plain text")):
        operator.privacy = {"drop": drop}
        with pytest.raises(AirflowFailException, match=message):
            operator.execute({})
    assert task_setup.fake.requests == []


@pytest.mark.parametrize("given", [None, 1, True, "a", [], {"a": ["b", {"c": 1}]}, ("a",), {"a"}, Path("a"), b"{"])
def test_plain_value_is_rendered(given: Any) -> None:
    """A value without text in braces is the same in every run; a path has a method of that name, too."""
    assert is_rendered(given)


@pytest.mark.parametrize("given", [JINJA, [JINJA], {"a": {"b": (JINJA,)}}, {JINJA}, WithTemplateFields()])
def test_template_is_not_rendered(given: Any) -> None:
    """A template is found at any depth."""
    assert not is_rendered(given)
