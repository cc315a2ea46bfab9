"""Answers requests for the coverage page inside the test's own process, as a user who may read everything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_audit_provider._airflow.coverage_page import access
from airflow_audit_provider._airflow.coverage_page.sources import Source
from airflow_audit_provider.core.ports import Clock


def client_of(
    monkeypatch: pytest.MonkeyPatch, found: Callable[[], list[Source]], clock: Clock | None = None, waited: float = 60
) -> Any:
    """Returns a client of the page of these datasets."""
    from fastapi.testclient import TestClient

    from airflow_audit_provider._airflow.coverage_page.routes import build

    monkeypatch.setattr(access, "may_read", lambda user, source: True)
    monkeypatch.setattr(access, "may_backfill", lambda user, dag_id: False)
    app = build(found, clock, waited)
    app.dependency_overrides[access.current_user()] = object
    return TestClient(app)


def source_of(folder: Path) -> Source:
    """Returns the dataset of a folder."""
    return Source(folder.as_uri(), folder.as_uri())
