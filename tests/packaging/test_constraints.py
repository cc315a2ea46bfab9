"""The constraints files agree with the locks they are made from and cover the declared dependencies."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.architecture.source_files import PROJECT
from tools.constraints import FOLDER, TARGETS, WITHOUT, Target, header_of, locked_versions, versions_for

each_target = pytest.mark.parametrize("target", TARGETS, ids=[target.path.stem for target in TARGETS])


def _project() -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    return project


def _constraints(target: Target) -> dict[str, str]:
    return locked_versions(target.path.read_text(), target.python)


def stale_packages(target: Target, text: str) -> list[str]:
    """Returns the lock's packages that a constraints file lacks, or has in another version not in its header."""
    versions, locked = locked_versions(text, target.python), versions_for(target)
    others = dict(pair.split(" ") for pair in _listed_in_header(text, "Other versions than the lock"))
    left_out = _listed_in_header(text, "Packages of the lock that nothing requires")
    expected = {name: others.get(name, version) for name, version in locked.items() if name not in left_out}
    return sorted(name for name, version in expected.items() if versions.get(name) != version)


def _listed_in_header(text: str, beginning: str) -> list[str]:
    """Returns what a line of the header lists."""
    line = re.search(rf"^# {beginning}[^:]*: (.*)$", text, re.MULTILINE)
    assert line is not None
    return [] if line[1] == "none" else line[1].split(", ")


def _requirements(target: Target) -> Iterator[Requirement]:
    project = _project()
    yield from map(Requirement, project["dependencies"])
    for extra, requirements in project["optional-dependencies"].items():
        if extra not in WITHOUT.get(target.airflow, ()):
            yield from map(Requirement, requirements)


def uncovered(target: Target, versions: dict[str, str]) -> list[str]:
    """Returns the direct requirements, of the provider or an extra, that a constraints file does not satisfy."""
    return [
        str(requirement)
        for requirement in _requirements(target)
        if versions.get(canonicalize_name(requirement.name)) is None
        or not requirement.specifier.contains(versions[canonicalize_name(requirement.name)], prereleases=True)
    ]


def test_each_locked_airflow_has_its_files() -> None:
    """Each Airflow lock has constraints files, and each constraints file has a lock."""
    locks = {path.stem.removeprefix("airflow-") for path in (PROJECT / "requirements").glob("airflow-[0-9]*.txt")}
    assert {target.airflow for target in TARGETS} == locks
    assert {target.path for target in TARGETS} == set(FOLDER.glob("*.txt"))


@each_target
def test_file_has_the_versions_of_the_lock(target: Target) -> None:
    """Each file has the lock's versions; run `make constraints` after a change of a lock."""
    assert stale_packages(target, target.path.read_text()) == []


@each_target
def test_few_versions_differ_from_the_lock(target: Target) -> None:
    """The header names the few versions that differ; Airflow's own version is never among them."""
    text = target.path.read_text()
    assert text.startswith(header_of(target, _constraints(target)))
    assert len(_listed_in_header(text, "Other versions than the lock")) <= 8
    assert len(_listed_in_header(text, "Packages of the lock that nothing requires")) <= 4
    assert _constraints(target)["apache-airflow"] == target.airflow


@each_target
def test_file_covers_the_declared_dependencies(target: Target) -> None:
    """Every direct requirement is satisfied by a version in the file."""
    assert uncovered(target, _constraints(target)) == []


@each_target
def test_file_is_accepted_by_pip_as_constraints(target: Target) -> None:
    """Each line is a comment or ``name==version``, because pip refuses extras in constraints."""
    lines = [line for line in target.path.read_text().splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*==[\w.!+]+", line)] == []


def test_stale_file_is_noticed() -> None:
    """Another version than the lock's, a missing package and an unsatisfied requirement are found."""
    target = TARGETS[-1]
    text, versions = target.path.read_text(), _constraints(target)
    other = re.sub(r"^msgspec==.*$", "msgspec==0.1", text, flags=re.MULTILINE)
    gone = re.sub(r"^attrs==.*\n", "", text, flags=re.MULTILINE)
    assert stale_packages(target, other) == ["msgspec"]
    assert stale_packages(target, gone) == ["attrs"]
    assert uncovered(target, versions | {"msgspec": "0.1"}) == ["msgspec>=0.19"]


def test_marker_of_a_lock_is_evaluated_for_the_python_version() -> None:
    """A package that the lock has only for other Python versions or systems is omitted."""
    pins = ["one==1.0 ; python_full_version < '3.12'", "two==2.0 ; sys_platform == 'win32'", "three==3.0"]
    lock = "".join(f"{pin} \\\n    --hash=sha256:0\n" for pin in pins)
    assert locked_versions(lock, "3.11") == {"one": "1.0", "three": "3.0"}
    assert locked_versions(lock, "3.12") == {"three": "3.0"}
