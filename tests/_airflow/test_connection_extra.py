"""Tests that an extra that is no JSON object is a named error of every connection that the provider reads."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.triggers.base import TriggerEvent

from airflow_audit_provider._airflow.connection import check_extra, extra_text
from airflow_audit_provider._airflow.destinations import store_from_connection
from airflow_audit_provider._airflow.secrets import open_privacy
from airflow_audit_provider._airflow.warehouses import open_iceberg_warehouse, open_sql_warehouse
from airflow_audit_provider.exceptions import ConfigurationError
from airflow_audit_provider.hooks.cloudflare import CloudflareHook
from airflow_audit_provider.operators.seal import CloudflareAuditLogsSealOperator
from airflow_audit_provider.triggers.audit_logs import AuditLogActivityTrigger
from tests.operators.task_setup import START, WINDOW, TaskSetup

SECRET = "hidden-0123456789abcdef"
NO_OBJECTS = [
    "[1]",
    f'["{SECRET}"]',
    "7",
    f'"{SECRET}"',
    "null",
    "true",
    f"{{'token': '{SECRET}'}}",
    "{",
]
extras = pytest.mark.parametrize("extra", NO_OBJECTS, ids=lambda extra: extra[:8])


async def _first_event() -> TriggerEvent:
    return await anext(AuditLogActivityTrigger("cloudflare_default", START).run())


def _connect(monkeypatch: pytest.MonkeyPatch, conn_id: str, extra: str, **fields: Any) -> None:
    """Puts a connection with a text as its extra into the environment."""
    text = json.dumps({"password": "x", "conn_type": "generic", **fields, "extra": extra})
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", text)


def _check(attempt: Any, conn_id: str) -> None:
    with pytest.raises(
        (ConfigurationError, AirflowFailException), match=f"extra of connection '{conn_id}' is "
    ) as caught:
        attempt()
    assert SECRET not in str(caught.value)
    assert caught.value.__context__ is None or SECRET not in str(caught.value.__context__)


@extras
def test_extra_of_the_api_that_is_no_object_is_named(
    task_setup: TaskSetup, monkeypatch: pytest.MonkeyPatch, extra: str
) -> None:
    """For operator, sensor, hook, async hook, trigger and the test of the connection, before any request."""
    _connect(monkeypatch, "cloudflare_default", extra, conn_type="cloudflare")
    _check(lambda: task_setup.operator(**WINDOW).execute({}), "cloudflare_default")
    _check(lambda: task_setup.sensor().execute({}), "cloudflare_default")
    _check(lambda: list(CloudflareHook().iter_audit_logs()), "cloudflare_default")
    _check(lambda: asyncio.run(CloudflareHook().load_settings()), "cloudflare_default")
    passed, sentence = CloudflareHook().test_connection()
    assert (passed, "extra of connection 'cloudflare_default' is " in sentence) == (False, True)
    event = asyncio.run(_first_event()).payload
    assert (event["status"], event["code"]) == ("failed", "ConfigurationError")
    assert task_setup.fake.requests == []


@extras
def test_extra_of_another_connection_that_is_no_object_is_named(
    task_setup: TaskSetup, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, extra: str
) -> None:
    """For the connections of store, keys, time stamps, databases and catalog."""
    for conn_id, conn_type in (("other", "generic"), ("duck", "duckdb"), ("pg", "postgres"), ("aws", "aws")):
        _connect(monkeypatch, conn_id, extra, conn_type=conn_type, host=str(tmp_path / "w.duckdb"))
    _check(lambda: store_from_connection("s3://audit/x", "aws"), "aws")
    _check(lambda: store_from_connection("s3://aws@audit/x", None), "aws")
    _check(lambda: task_setup.land(destination_conn_id="other"), "other")
    _check(lambda: open_privacy({"conn_id": "other"}), "other")
    _check(lambda: open_sql_warehouse("duck", None, "t"), "duck")
    _check(lambda: open_sql_warehouse("pg", None, "t"), "pg")
    _check(lambda: open_iceberg_warehouse("other", None, None, "a.b"), "other")
    for name in ("signing_conn_id", "timestamp_conn_id"):
        seal = CloudflareAuditLogsSealOperator(task_id="seal", destination=str(tmp_path), **{name: "other"})
        _check(lambda: seal.execute({}), "other")  # noqa: B023 - called at once
    assert list(tmp_path.glob("*.duckdb")) == []


@pytest.mark.parametrize("extra", ["", " \n", "{}", '{"account_id": "' + "0" * 32 + '"}'])
def test_empty_extra_and_object_are_read(monkeypatch: pytest.MonkeyPatch, extra: str) -> None:
    """An empty extra is one without fields."""
    _connect(monkeypatch, "cloudflare_default", extra, conn_type="cloudflare")
    assert CloudflareHook().settings.account_id == ("0" * 32 if "account" in extra else None)


def test_missing_store_connection_is_left_to_the_provider(task_setup: TaskSetup) -> None:
    """Airflow's S3 provider goes on without it, and local files need none."""
    assert task_setup.land(destination_conn_id="no_such")["committed"]


@pytest.mark.parametrize("value", [7, ["x"], {"a": 1}, True])
def test_field_of_an_extra_that_is_no_text_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: Any
) -> None:
    """A key, a certificate and a limit are texts."""
    extra = {"signing_key": value, "tsa_certificate": value}
    _connect(monkeypatch, "other", json.dumps(extra), host="https://tsa.example.com")
    limit = json.dumps({"memory_limit": value})
    _connect(monkeypatch, "duck", limit, conn_type="duckdb", host=str(tmp_path / "w.duckdb"))
    with pytest.raises(ConfigurationError, match="extra field 'memory_limit' of connection 'duck' is a "):
        open_sql_warehouse("duck", None, "t")
    for name, field in (("signing_conn_id", "signing_key"), ("timestamp_conn_id", "tsa_certificate")):
        seal = CloudflareAuditLogsSealOperator(task_id="seal", destination=str(tmp_path), **{name: "other"})
        with pytest.raises(AirflowFailException, match=f"extra field '{field}' of connection 'other' is a "):
            seal.execute({})


def test_extra_that_is_nested_too_deep_is_named() -> None:
    """Its parser raises another error than for a text that is no JSON."""
    conn: Any = type("Connection", (), {"extra": "[" * 100_000})()
    with pytest.raises(ConfigurationError, match="extra of connection 'c' is no JSON"):
        check_extra("c", conn)


def test_field_of_an_extra_is_empty_without_a_value() -> None:
    """A missing field and ``null`` are the same."""
    conn: Any = type("Connection", (), {"extra_dejson": {"given": "x", "nothing": None}})()
    assert [extra_text("c", conn, name) for name in ("given", "nothing", "missing")] == ["x", "", ""]
