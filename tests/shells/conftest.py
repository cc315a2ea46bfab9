"""Airflow without a home and without a database, and a fake Cloudflare behind the default connection."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import pytest

# Airflow reads both when it is first imported; a database that cannot be opened proves that none is used.
if "airflow" not in sys.modules:
    os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-home-")
    os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = f"sqlite:///{os.environ['AIRFLOW_HOME']}/no-such-folder/no.db"

from tests.adapters.store_fixtures import servers
from tests.shells.worlds import World

__all__ = ["servers"]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    """A quiet fake of 300 records a day with its connection in the environment, and an empty destination."""
    return World(monkeypatch, tmp_path / "landed")
