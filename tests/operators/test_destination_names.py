"""Tests that what names a landed window leads to its manifest, or that its destination is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb
import fsspec
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, ObjectStoragePath

from airflow_audit_provider.assets.audit_logs import audit_log_asset
from airflow_audit_provider.exceptions import ConfigurationError
from airflow_audit_provider.links.audit_logs import ManifestLink
from airflow_audit_provider.operators.seal import CloudflareAuditLogsSealOperator
from airflow_audit_provider.operators.verify import CloudflareAuditLogsVerifyOperator
from airflow_audit_provider.operators.warehouses import CloudflareAuditLogsToSqlOperator
from tests.operators.task_setup import WINDOW, TaskSetup

NAMES = ["x y", "x;y", "prüfung", "x&y=1", "x@y", "x:8", "~x", "x/"]


class OutletEvents(dict[Any, Any]):
    """Returns an event with room for an extra for every asset."""

    def __missing__(self, asset: Any) -> Any:
        self[asset] = type("Event", (), {"extra": {}})()
        return self[asset]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scheme", ["", "file://"])
def test_manifest_uri_names_an_object_that_is_there(task_setup: TaskSetup, name: str, scheme: str) -> None:
    """In XCom, asset event and link, opened by fsspec, by Airflow and by the URI's path."""
    destination, events = f"{scheme}{task_setup.destination}/{name}", OutletEvents()
    operator = task_setup.operator(**WINDOW, destination=destination, outlets=[audit_log_asset(destination)])
    uri = operator.execute({"outlet_events": events})["manifest_uri"]
    assert ManifestLink().get_link(operator, ti_key=None) == uri
    assert events[audit_log_asset(destination)].extra["manifest_uri"] == uri
    with fsspec.open(uri) as file:
        assert json.load(file)["record_count"] == 300
    assert ObjectStoragePath(uri).exists()
    assert json.loads(Path(urlsplit(uri).path).read_bytes())["record_count"] == 300


@pytest.mark.parametrize("name", ["x#A", "x?A", "x%20y", "x::y", "x//y", "x/../y", "x\n"])
def test_rendered_destination_that_does_not_name_one_place_is_refused(task_setup: TaskSetup, name: str) -> None:
    """A template is checked in the run, by each task with a destination, which fails at once and writes nothing."""
    destination, template = f"file://{task_setup.destination}/{name}", "{{ params.destination }}"
    operators: list[Any] = [
        task_setup.operator(**WINDOW, destination=template),
        CloudflareAuditLogsVerifyOperator(task_id="t", destination=template),
        CloudflareAuditLogsSealOperator(task_id="t", destination=template),
        CloudflareAuditLogsToSqlOperator(task_id="t", destination=template, duckdb_path=":memory:"),
    ]
    for operator in operators:
        operator.destination = destination
        with pytest.raises(AirflowFailException, match="does not name the same place for every library"):
            operator.execute({})
    assert task_setup.tree() == {}


@pytest.mark.parametrize("given", [None, ["s3://audit/x"], 7])
def test_rendered_destination_that_is_no_text_is_named(task_setup: TaskSetup, given: Any) -> None:
    """The output of another task may be anything."""
    operator = task_setup.operator(**WINDOW, destination="{{ 1 }}")
    operator.destination = given
    with pytest.raises(AirflowFailException, match=r"The destination is a \w+\.\nSet it to the text of a URI"):
        operator.execute({})


def test_landing_checks_the_destination_before_any_request(task_setup: TaskSetup) -> None:
    """A destination that cannot be used costs no request."""
    operator = task_setup.operator(**WINDOW, destination="{{ 1 }}")
    operator.destination = f"{task_setup.destination}/x#A"
    with pytest.raises(AirflowFailException):
        operator.execute({})
    assert task_setup.fake.requests == []


@pytest.mark.integration
def test_two_destinations_are_two_datasets_of_a_table(task_setup: TaskSetup) -> None:
    """A table that loads two folders with odd names has the records of both."""
    database = str(task_setup.destination / "w.duckdb")
    for name in ("x;A", "x;B"):
        destination = f"file://{task_setup.destination}/{name}"
        task_setup.land(destination=destination)
        load = CloudflareAuditLogsToSqlOperator(task_id="t", destination=destination, duckdb_path=database)
        assert load.execute({})["record_count"] == 300
    with duckdb.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM cloudflare_audit_logs").fetchone() == (600,)


@pytest.mark.parametrize("fragment", ["#A", "?A"])
def test_task_and_asset_refuse_a_fragment_at_dag_parse(task_setup: TaskSetup, fragment: str) -> None:
    """``x#A`` and ``x#B`` never share a name, because neither is accepted."""
    for refuse in (lambda destination: task_setup.operator(destination=destination), audit_log_asset):
        with pytest.raises(ConfigurationError, match="does not name the same place"):
            refuse(f"file://{task_setup.destination}/x{fragment}")
