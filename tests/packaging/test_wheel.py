"""The wheel contains the complete package and nothing else."""

from __future__ import annotations

import email
import email.message
import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

import airflow_audit_provider
from tests.architecture.source_files import PACKAGE, PROJECT, tracked
from tools.constraints import TARGETS

EXAMPLES = sorted((PROJECT / "dags").glob("*.py"))


def _names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def _text(wheel: Path, name: str) -> str:
    """Returns the text of one file in the wheel's dist-info folder."""
    with zipfile.ZipFile(wheel) as archive:
        (path,) = (path for path in archive.namelist() if path.endswith(f".dist-info/{name}"))
        return archive.read(path).decode()


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> email.message.Message:
    """The metadata of the wheel."""
    return email.message_from_string(_text(wheel, "METADATA"))


def test_every_module_is_in_the_wheel(wheel: Path) -> None:
    """Each file of the package in the repository is in the wheel."""
    assert {source.path for source in tracked() if source.path.startswith(f"{PACKAGE}/")} <= _names(wheel)


def test_types_and_doubles_are_shipped(wheel: Path) -> None:
    """The wheel contains the marker for type checkers and the fake Cloudflare."""
    assert {f"{PACKAGE}/py.typed", f"{PACKAGE}/testing/__init__.py"} <= _names(wheel)


def test_nothing_else_is_shipped(wheel: Path) -> None:
    """The wheel contains no tests, no tools and no demo."""
    assert {name.split("/")[0].split("-")[0] for name in _names(wheel)} == {PACKAGE}


def test_example_dags_are_shipped(wheel: Path) -> None:
    """The wheel contains each example of the folder ``dags`` unchanged, in ``example_dags``."""
    with zipfile.ZipFile(wheel) as archive:
        shipped = {
            name.rpartition("/")[2]: archive.read(name)
            for name in archive.namelist()
            if name.startswith(f"{PACKAGE}/example_dags/")
        }
    assert shipped == {path.name: path.read_bytes() for path in EXAMPLES}


@pytest.mark.integration
def test_shipped_examples_define_dags(wheel: Path, tmp_path: Path) -> None:
    """Each example is importable from the unpacked wheel as a module of the package, and defines its DAGs."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    modules = [f"{PACKAGE}.example_dags.{path.stem}" for path in EXAMPLES]
    question = (
        "import gc, importlib, json; from airflow.sdk import DAG; gc.disable()\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "print(json.dumps([dag.fileloc for dag in gc.get_objects() if type(dag) is DAG]))"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "AIRFLOW_HOME": str(tmp_path / "home")}
    answer = subprocess.run(
        [sys.executable, "-c", question], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr[-3000:]
    files = {Path(text) for text in json.loads(answer.stdout.splitlines()[-1])}
    assert files == {tmp_path / PACKAGE / "example_dags" / path.name for path in EXAMPLES}


def test_wheel_is_pure(wheel: Path) -> None:
    """The wheel is independent of the platform."""
    assert wheel.name.endswith("-py3-none-any.whl")


def test_license_is_shipped(wheel: Path) -> None:
    """The wheel contains the license."""
    assert any(name.endswith("licenses/LICENSE") for name in _names(wheel))


def test_version_has_one_source(metadata: email.message.Message) -> None:
    """The wheel's version is the package's."""
    assert metadata["Version"] == airflow_audit_provider.__version__


def test_entry_point_is_declared(wheel: Path) -> None:
    """Airflow finds the provider by its entry point."""
    lines = _text(wheel, "entry_points.txt").splitlines()
    assert "[apache_airflow_provider]" in lines
    assert f"provider_info = {PACKAGE}.get_provider_info:get_provider_info" in lines


def test_command_is_declared(wheel: Path) -> None:
    """The wheel installs the command for auditors."""
    lines = _text(wheel, "entry_points.txt").splitlines()
    assert f"airflow-audit-provider = {PACKAGE}.cli.__main__:main" in lines


def test_airflow_and_python_are_bounded_below(metadata: email.message.Message) -> None:
    """The wheel's metadata states the lowest supported Airflow and Python versions."""
    assert metadata["Requires-Python"] == ">=3.11"
    assert "apache-airflow>=3.0.6" in metadata.get_all("Requires-Dist", [])


def test_airflow_finds_the_documentation(metadata: email.message.Message) -> None:
    """Airflow's page of providers links to the project URL with the name Documentation."""
    urls = dict(entry.split(", ", 1) for entry in metadata.get_all("Project-URL", []))
    assert urls.keys() == {"Documentation", "Source", "Changelog", "Issues"}
    assert {url for url in urls.values() if not url.startswith(urls["Source"])} == set()


def test_sdist_has_the_constraints_files(sdist: Path) -> None:
    """The source archive contains each constraints file, the documentation and the changelog."""
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {str(target.path.relative_to(PROJECT)) for target in TARGETS} <= names
    assert {"CHANGELOG.md", "docs/index.md"} <= names
    assert not any(name.startswith((".github", ".ci")) for name in names)


@pytest.mark.integration
def test_archives_are_fit_for_an_index(wheel: Path, sdist: Path) -> None:
    """The description can be rendered by an index, and the wheel has no unexpected files."""
    for command in (["twine", "check", "--strict", str(wheel), str(sdist)], ["check_wheel_contents", str(wheel)]):
        answer = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=False)
        assert answer.returncode == 0, answer.stdout + answer.stderr


def test_sdist_can_be_built_from(sdist: Path) -> None:
    """The source archive contains the files that a build, the tests and the demo need."""
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "Makefile", f"{PACKAGE}/__init__.py"} <= names


def _installed(wheel: Path, folder: Path) -> Path:
    """Installs the wheel alone into an empty environment and returns its interpreter."""
    python = folder / "venv" / "bin" / "python"
    uv = [sys.executable, "-m", "uv", "--quiet"]
    subprocess.run([*uv, "venv", "--python", sys.executable, str(folder / "venv")], check=True)
    subprocess.run([*uv, "pip", "install", "--python", str(python), "--no-deps", "--offline", str(wheel)], check=True)
    return python


@pytest.mark.integration
def test_wheel_installs(wheel: Path, tmp_path: Path) -> None:
    """The wheel can be installed into an empty environment, and its entry point works."""
    question = (
        "from importlib.metadata import entry_points as e;"
        "(point,) = e(group='apache_airflow_provider'); print(point.load()()['package-name'])"
    )
    command = [str(_installed(wheel, tmp_path)), "-c", question]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "airflow-audit-provider"


@pytest.mark.integration
def test_installed_wheel_imports(wheel: Path, tmp_path: Path) -> None:
    """Each module that the declaration names is importable from the wheel, with the tests' packages."""
    imports = (
        "import importlib, airflow_audit_provider as package;"
        "from airflow_audit_provider.get_provider_info import get_provider_info;"
        "info = get_provider_info();"
        "kinds = [info[kind] for kind in ('hooks', 'operators', 'sensors', 'triggers')];"
        "names = [name for kind in kinds for entry in kind for name in entry['python-modules']];"
        "print(package.__file__, *(importlib.import_module(name).__file__ for name in names))"
    )
    # A folder on PYTHONPATH is no site folder: the link to this repository, which an editable install has, is not read.
    environment = {**os.environ, "PYTHONPATH": sysconfig.get_path("purelib"), "AIRFLOW_HOME": str(tmp_path / "airflow")}
    command = [str(_installed(wheel, tmp_path)), "-c", imports]
    answer = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    files = answer.stdout.splitlines()[-1].split()
    assert len(files) >= 5
    assert {file for file in files if not file.startswith(str(tmp_path / "venv"))} == set()
