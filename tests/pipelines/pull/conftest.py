"""Fixtures of tests that pull into a destination."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.pipelines import part_writer
from airflow_audit_provider.testing.clock import ManualClock


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of at most 2000 records."""
    monkeypatch.setattr(part_writer, "PART_RECORDS", 2000)


@pytest.fixture
def clock() -> ManualClock:
    """A clock that moves only when a caller sleeps on it."""
    return ManualClock()


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """The empty destination that all attempts of a test share."""
    return LocalStore(str(tmp_path / "destination"))


@pytest.fixture
def undisturbed_store(tmp_path: Path) -> LocalStore:
    """The destination of a run that nothing disturbs."""
    return LocalStore(str(tmp_path / "undisturbed"))
