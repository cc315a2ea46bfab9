"""One Airflow a version, shared by every test of this folder, and the choice of versions a test needs.

A test that takes `live` runs in all four versions; `@pytest.mark.since("3.2.2")` leaves the older ones out,
`@pytest.mark.versions("3.0.6", "3.3.2")` all but these; with `@pytest.mark.by_day("3.3.2")` the others run at night.
DAG files in `tests/live/dags/` and the examples in `dags/` are all there, paused until a test unpauses them. A test
with other needs starts an Airflow of its own by `tests.live.live_airflow.start_airflow`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.cloudflare_account import CloudflareAccount
from tests.live.airflow_home import Home
from tests.live.failure_report import pytest_runtest_makereport
from tests.live.live_airflow import LiveAirflow, start_airflow
from tests.live.shared_airflow import DAG_FILES, FAKE_OPTIONS, committed, counting, settings
from tests.live.telemetry_receivers import Statsd, statsd
from tests.live.versions import environments
from tests.live.versions.versions import VERSIONS, AirflowVersion
from tests.packaging.building import build

__all__ = ["pytest_runtest_makereport"]


def _version_of(item: pytest.Item) -> AirflowVersion | None:
    """Returns the Airflow version that a test is parametrized with."""
    params = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    version = params.get("version")
    return version if isinstance(version, AirflowVersion) else None


def _is_wanted(item: pytest.Item) -> bool:
    """Returns whether a test runs in the version that it is parametrized with."""
    since, only, version = item.get_closest_marker("since"), item.get_closest_marker("versions"), _version_of(item)
    if version is None:
        return True
    return (since is None or version.at_least(since.args[0])) and (only is None or version.number in only.args)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselects tests of features that an older version lacks; marks those of some other versions as nightly."""
    for item in items:
        version, by_day = _version_of(item), item.get_closest_marker("by_day")
        if version in VERSIONS[1:-1] or (version and by_day and version.number not in by_day.args):
            item.add_marker(pytest.mark.nightly)
    left_out = [item for item in items if not _is_wanted(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if _is_wanted(item)]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built wheel."""
    return build("wheel", tmp_path_factory.mktemp("airflow-wheel"))


@pytest.fixture(scope="package", params=VERSIONS, ids=[version.number for version in VERSIONS])
def version(request: pytest.FixtureRequest) -> AirflowVersion:
    """The Airflow version that a test runs in."""
    chosen: AirflowVersion = request.param
    return chosen


@pytest.fixture(scope="package")
def counted() -> Iterator[Statsd]:
    """The metrics that tasks of every version have sent since the start."""
    with statsd() as heard:
        yield heard


@pytest.fixture(scope="package")
def live(
    version: AirflowVersion, wheel: Path, counted: Statsd, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveAirflow]:
    """A running Airflow of the version, with the built wheel."""

    def variables(home: Home, account: CloudflareAccount) -> dict[str, str]:
        return settings(home, account) | counting(home, counted.port) | committed(home, version.number)

    environments.prepare(version, wheel)
    home = Home(tmp_path_factory.mktemp(f"live-{version.number}") / "home", version.folder)
    with start_airflow(home, version.number, dags=DAG_FILES, fake_options=FAKE_OPTIONS, settings=variables) as airflow:
        yield airflow
