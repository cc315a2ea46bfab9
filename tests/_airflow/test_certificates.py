"""Tests that a certificate of a private authority is named at once, by everything in Airflow that makes requests."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.triggers.base import TriggerEvent

from airflow_audit_provider.adapters.timestamps import HttpTimestamper, TimestampAuthority
from airflow_audit_provider.exceptions import ConfigurationError
from airflow_audit_provider.hooks.cloudflare import CloudflareHook
from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator
from airflow_audit_provider.sensors.audit_logs import CloudflareAuditLogActivitySensor
from airflow_audit_provider.triggers.audit_logs import AuditLogActivityTrigger
from tests.adapters.cloudflare.authority import new_authority
from tests.adapters.cloudflare.scripted_server import answering, response
from tests.operators.task_setup import START, WINDOW, TaskSetup

pytestmark = pytest.mark.integration
OK = response(b"{}", headers="Content-Length: 2\r\nConnection: close\r\n")
NOT_TRUSTED = r"(?s)certificate of localhost.*not trusted.*SSL_CERT_FILE or SSL_CERT_DIR"


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Removes the proxies and certificates of this machine."""
    for name in [*os.environ]:
        if name.lower().endswith("_proxy") or name.startswith(("SSL_CERT_", "REQUESTS_CA")):
            monkeypatch.delenv(name)


async def _first_event() -> TriggerEvent:
    return await anext(AuditLogActivityTrigger("cloudflare_default", START).run())


def test_untrusted_certificate_fails_without_a_retry(task_setup: TaskSetup, tmp_path: Path) -> None:
    """Operator, sensor, trigger and the test of the connection end after one request."""
    with answering(OK, new_authority(tmp_path).context) as server:
        task_setup.connect(host=f"https://localhost:{server.port}")
        land = CloudflareAuditLogsToObjectStorageOperator(task_id="land", destination=f"{tmp_path}/x", **WINDOW)
        for task in (land, CloudflareAuditLogActivitySensor(task_id="look", since=START)):
            with pytest.raises(AirflowFailException, match=NOT_TRUSTED):
                task.execute({})
        event = asyncio.run(_first_event()).payload
        assert (event["status"], event["code"]) == ("failed", "ConfigurationError")
        passed, sentence = CloudflareHook().test_connection()
        assert (passed, "ca_bundle" in sentence) == (False, True)


def test_untrusted_certificate_of_a_time_stamp_authority_is_named(tmp_path: Path) -> None:
    """The error names the environment variables alone, because its connection has no extra for certificates."""
    with (
        answering(OK, new_authority(tmp_path).context) as server,
        pytest.raises(ConfigurationError, match=NOT_TRUSTED) as caught,
    ):
        HttpTimestamper(TimestampAuthority(f"https://localhost:{server.port}")).stamp(b"x")
    assert "ca_bundle" not in str(caught.value)


def test_port_of_a_time_stamp_authority_that_no_socket_takes_is_named() -> None:
    """It is refused before any request."""
    with pytest.raises(ConfigurationError, match="address is not a URL"):
        HttpTimestamper(TimestampAuthority("https://tsa.example.com:65536"))


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_certificates_that_are_not_there_fail_the_test_of_the_connection(
    task_setup: TaskSetup, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """It returns a sentence with the path, and does not raise."""
    task_setup.connect(host="https://localhost:1")
    monkeypatch.setenv(name, "/no/such/place")
    passed, sentence = CloudflareHook().test_connection()
    assert (passed, f"{name} cannot be read from '/no/such/place'" in sentence) == (False, True)
