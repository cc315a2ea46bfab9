"""Fixtures of the tests that need Airflow: without a home and a database, a fake Cloudflare behind the connection."""

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

from tests.adapters.storage.store_fixtures import servers
from tests.operators.task_setup import TaskSetup

if TYPE_CHECKING:
    from tests.operators.trigger_setup import TriggerSetup

__all__ = ["servers", "task_setup", "trigger_setup"]


@pytest.fixture
def task_setup(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> TaskSetup:
    """A quiet fake of 300 records a day with its connection in the environment, and an empty destination."""
    return TaskSetup(monkeypatch, tmp_path / "landed")


@pytest.fixture
def trigger_setup(task_setup: TaskSetup, monkeypatch: pytest.MonkeyPatch) -> TriggerSetup:
    """A trigger_setup on the usual task_setup; a failed request is not tried again within a look."""
    # What older Airflow lacks is imported only where a trigger_setup is asked for.
    from tests.operators.trigger_setup import TriggerSetup

    return TriggerSetup(task_setup, monkeypatch)
