"""Inspections of all Airflow versions, started together, two at a time, and only those a selected test needs."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.live.versions import running
from tests.live.versions.versions import VERSIONS, AirflowVersion

Reports = dict[AirflowVersion, Future[dict[str, Any]]]
AT_ONCE = 2


def _asked_for(items: list[pytest.Item]) -> list[AirflowVersion]:
    """Returns the versions whose tests are selected, in the table's order."""
    specs = [item.callspec for item in items if isinstance(item, pytest.Function) and hasattr(item, "callspec")]
    return [version for version in VERSIONS if any(spec.params.get("version") == version for spec in specs)]


@pytest.fixture(scope="session")
def reports(request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reports]:
    """Futures of the reports of all versions; a test waits only for its own."""
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        yield {
            version: pool.submit(running.look, version, wheel, tmp_path_factory.mktemp(f"airflow-{version.number}"))
            for version in _asked_for(request.session.items)
        }
    finally:
        pool.shutdown(cancel_futures=True)


@pytest.fixture
def report(reports: Reports, version: AirflowVersion) -> dict[str, Any]:
    """The inspection report of this version."""
    return reports[version].result()
