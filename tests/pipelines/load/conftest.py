"""Fixtures: a target in each warehouse: a DuckDB file, PostgreSQL by two drivers, an Iceberg and a Delta table.

ClickHouse's engine takes some 800 MB to install, so its targets are nightly.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.load.clickhouse_server import clickhouse_server
from tests.pipelines.load.postgres_server import postgres_server
from tests.pipelines.load.warehouses import KINDS, LoadTarget, new_target


@pytest.fixture(scope="session")
def postgres() -> Iterator[dict[str, Any]]:
    """Arguments of a connection to a PostgreSQL server that runs for this session."""
    with postgres_server() as connection:
        yield connection


@pytest.fixture(scope="session")
def clickhouse() -> Iterator[str]:
    """URL of ClickHouse's engine, which runs for this session."""
    with clickhouse_server() as url:
        yield url


@pytest.fixture(params=[*KINDS, pytest.param("clickhouse", marks=pytest.mark.nightly)])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> LoadTarget:
    """An empty target in each kind of warehouse."""
    return new_target(
        request.param,
        tmp_path,
        lambda: request.getfixturevalue("postgres"),
        lambda: request.getfixturevalue("clickhouse"),
    )
