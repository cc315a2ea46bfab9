"""Fixtures of these tests: a fake Cloudflare behind a connection, or served for commands that read the environment."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.server import FakeServer
from airflow_audit_provider.testing.settings import TOKEN
from tests.airflow_fixtures import task_setup

__all__ = ["task_setup"]


@pytest.fixture
def server(fake: FakeCloudflare, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    """Serves the log that a test file names in its fixture ``fake``; the token is in the environment."""
    with FakeServer(fake) as served:
        monkeypatch.setenv("CLOUDFLARE_API_TOKEN", TOKEN)
        monkeypatch.setenv("CLOUDFLARE_BASE_URL", served.base_url)
        yield served
