"""Sends one request with the blocking client, and with that of an event loop, each opened for it alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeAlias

import pytest

from airflow_audit_provider.adapters.cloudflare.http import (
    AsyncHttpTransport,
    Endpoint,
    HttpTransport,
    open_async_client,
    open_client,
)
from airflow_audit_provider.core.ports import Request, Response

REQUEST = Request("/accounts/0/audit_logs")
# Small enough for a test to send more.
MAX_BYTES = 1 << 20
Send: TypeAlias = Callable[[Endpoint], Response]


def send(endpoint: Endpoint) -> Response:
    """Sends with the blocking client."""
    with open_client(endpoint) as client:
        return HttpTransport(client, MAX_BYTES).send(REQUEST)


def send_in_loop(endpoint: Endpoint) -> Response:
    """Sends with the client of an event loop."""

    async def in_loop() -> Response:
        async with open_async_client(endpoint) as client:
            return await AsyncHttpTransport(client, MAX_BYTES).send(REQUEST)

    return asyncio.run(in_loop())


BOTH = pytest.mark.parametrize("send", [send, send_in_loop], ids=["sync", "async"])
