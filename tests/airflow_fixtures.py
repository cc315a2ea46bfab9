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
from tests.operators.worlds import World

if TYPE_CHECKING:
    from tests.operators.stages import Stage

__all__ = ["servers", "stage", "world"]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    """A quiet fake of 300 records a day with its connection in the environment, and an empty destination."""
    return World(monkeypatch, tmp_path / "landed")


@pytest.fixture
def stage(world: World, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A stage on the usual world; a failed request is not tried again within a look."""
    # What older Airflow lacks is imported only where a stage is asked for.
    from tests.operators.stages import Stage

    return Stage(world, monkeypatch)
