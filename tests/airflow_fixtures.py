"""Fixtures for tests that need Airflow, without a home or database, and with a fake Cloudflare."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# Airflow reads both when it is first imported; a database that cannot be opened proves that none is used.
if "airflow" not in sys.modules:
    os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-home-")
    os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = f"sqlite:///{os.environ['AIRFLOW_HOME']}/no-such-folder/no.db"

from tests.operators.task_setup import TaskSetup

if TYPE_CHECKING:
    from tests.operators.trigger_setup import TriggerSetup

__all__ = ["task_setup", "trigger_setup"]


@pytest.fixture
def task_setup(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> TaskSetup:
    """A fake with 300 records a day, its connection in the environment, and an empty destination."""
    return TaskSetup(monkeypatch, tmp_path / "landed")


@pytest.fixture
def trigger_setup(task_setup: TaskSetup, monkeypatch: pytest.MonkeyPatch) -> TriggerSetup:
    """Triggers on the fake of ``task_setup``; a failed request is not retried within a poll."""
    # Imported here, because older Airflow lacks the shared stream.
    from tests.operators.trigger_setup import TriggerSetup

    return TriggerSetup(task_setup, monkeypatch)
