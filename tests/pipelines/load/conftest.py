"""Fixtures: a target in each real warehouse, that is a DuckDB file, PostgreSQL by two drivers, an Iceberg table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.load.postgres_server import postgres_server
from tests.pipelines.load.warehouses import KINDS, LoadTarget, new_target


@pytest.fixture(scope="session")
def postgres() -> Iterator[dict[str, Any]]:
    """Arguments of a connection to a PostgreSQL server that runs for this session."""
    with postgres_server() as connection:
        yield connection


@pytest.fixture(params=KINDS)
def target(request: pytest.FixtureRequest, tmp_path: Path) -> LoadTarget:
    """An empty target in each kind of warehouse."""
    return new_target(request.param, tmp_path, lambda: request.getfixturevalue("postgres"))
