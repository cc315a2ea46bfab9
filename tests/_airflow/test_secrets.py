"""Tests that secrets which Airflow does not mask itself are masked as soon as they are read."""

from __future__ import annotations

import asyncio
import json

import pytest
from airflow.sdk._shared.secrets_masker import _secrets_masker, redact
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from airflow_audit_provider.operators.seal import CloudflareAuditLogsSealOperator
from tests.operators.task_setup import TaskSetup

TOKEN = "a-token-with-a-line-break-after-it"


@pytest.fixture(autouse=True)
def _fresh_masker() -> None:
    _secrets_masker().reset_masker()


def test_token_with_line_break_is_masked_without_it(task_setup: TaskSetup) -> None:
    """Sends a password without its trailing line break, and masks what is sent."""
    assert TOKEN in str(redact(f"sent {TOKEN}"))
    task_setup.connect(password=f"{TOKEN}\n")
    assert task_setup.hook().settings.endpoint.credentials.secret == TOKEN
    assert redact(f"sent {TOKEN} there") == "sent *** there"


def test_token_read_on_event_loop_is_masked(task_setup: TaskSetup) -> None:
    """The async method, which triggers use, masks the token as well."""
    task_setup.connect(password=f"{TOKEN}\n")
    asyncio.run(task_setup.hook().load_settings())
    assert redact(f"sent {TOKEN} there") == "sent *** there"


@pytest.mark.integration
@pytest.mark.parametrize("place", ["password", "extra"])
def test_signing_key_is_masked_line_by_line(task_setup: TaskSetup, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """Masks every line of a private key, from the password or the extra."""
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    fields = {"password": pem} if place == "password" else {"extra": {"signing_key": pem}}
    monkeypatch.setenv("AIRFLOW_CONN_SIGNER", json.dumps({"conn_type": "generic", **fields}))
    task_setup.land()
    seal = CloudflareAuditLogsSealOperator(
        task_id="seal", destination=f"file://{task_setup.destination}", signing_conn_id="signer"
    )
    assert seal.execute({})["signed_count"] == 1
    body = pem.splitlines()[1]
    assert redact(f"key {body}") == "key ***"
    assert body not in str(redact(pem))
