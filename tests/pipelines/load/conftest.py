"""Every warehouse the tests load into, each real: DuckDB files, PostgreSQL by two drivers, Iceberg tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.load.postgres_server import postgres_server
from tests.pipelines.load.warehouses import KINDS, Place, place_of


@pytest.fixture(scope="session")
def postgres() -> Iterator[dict[str, Any]]:
    """A PostgreSQL of this session."""
    with postgres_server() as connection:
        yield connection


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty place in each kind of warehouse."""
    return place_of(request.param, tmp_path, lambda: request.getfixturevalue("postgres"))
