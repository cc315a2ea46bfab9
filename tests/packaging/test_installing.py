"""pip alone installs each extra into an empty environment without searching for versions."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.architecture.source_files import PROJECT
from tests.packaging.installing import python_of_the_tests, read_resolution, resolve
from tools.constraints import FOLDER, TESTED

EXTRAS = sorted(tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
README_EXTRAS = "parquet,zstd,s3"
CONSTRAINTS = FOLDER / f"airflow-{TESTED}-python-{python_of_the_tests()}.txt"
# Without constraints pip tries versions of these one by one, newest first, whatever a provider asks for. Airflow 3.3
# requires fastapi<0.137, and cadwyn 7.1 and newer fastapi>=0.137.1; aiobotocore requires a botocore that is weeks older
# than the newest boto3. An upper bound here would make the provider impossible to install beside a later Airflow.
SEARCHED_FOR_OTHERS = {"boto3", "cadwyn", "fastapi"}


def _requirement(wheel: Path, extras: str) -> str:
    return f"{wheel}[{extras}]"


@pytest.mark.nightly
def test_readme_installs_at_once(wheel: Path, tmp_path: Path) -> None:
    """With README's command, pip tries one version of each package and prints no warning."""
    assert f"airflow-audit-provider[{README_EXTRAS}]" in (PROJECT / "README.md").read_text()
    resolution = resolve(_requirement(wheel, README_EXTRAS), tmp_path, "--constraint", str(CONSTRAINTS))
    assert {"s3fs", "pyarrow", "apache-airflow-core"} <= resolution.tried.keys()
    assert resolution.packages_tried_often(1) == {}
    assert resolution.warnings == []


@pytest.mark.nightly
@pytest.mark.parametrize("extra", EXTRAS)
def test_extra_installs_at_once(wheel: Path, tmp_path: Path, extra: str) -> None:
    """With the constraints file, pip tries one version of each package and prints no warning."""
    resolution = resolve(_requirement(wheel, extra), tmp_path, "--constraint", str(CONSTRAINTS))
    assert resolution.packages_tried_often(1) == {}
    assert resolution.warnings == []


@pytest.mark.nightly
@pytest.mark.parametrize("extra", EXTRAS)
def test_extra_without_constraints_searches_for_nothing_of_its_own(wheel: Path, tmp_path: Path, extra: str) -> None:
    """Without constraints, pip finds each extra and tries at most two versions of what it bounds."""
    resolution = resolve(_requirement(wheel, extra), tmp_path)
    assert resolution.packages_tried_often(2).keys() <= SEARCHED_FOR_OTHERS
    assert [warning for warning in resolution.warnings if "does not provide the extra" in warning] == []


OUTPUT = """\
Collecting boto3>=1.37
  Downloading boto3-1.44.8-py3-none-any.whl (139 kB)
WARNING: aiobotocore 3.10.0 does not provide the extra 'boto3'
INFO: pip is looking at multiple versions of boto3 to determine which version is compatible with other requirements.
  Using cached boto3-1.44.7-py3-none-any.whl.metadata (7 kB)
Processing /somewhere/pure_sasl-0.6.2.tar.gz
  Downloading https://index.invalid/boto3-1.44.6-py3-none-any.whl (139 kB)
  Downloading boto3-1.44.6-py3-none-any.whl (139 kB)
"""


def test_search_for_versions_is_noticed() -> None:
    """Every tried version is counted once, from a wheel, metadata or source archive; both warnings are found."""
    resolution = read_resolution(OUTPUT)
    assert resolution.tried == {"boto3": ["1.44.8", "1.44.7", "1.44.6"], "pure-sasl": ["0.6.2"]}
    assert resolution.packages_tried_often(2).keys() == {"boto3"}
    assert len(resolution.warnings) == 2
    assert all(re.search("boto3", warning) for warning in resolution.warnings)
