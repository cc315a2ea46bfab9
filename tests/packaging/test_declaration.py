"""Airflow accepts the provider's declaration; an invalid one would stop the discovery of all providers."""

from __future__ import annotations

import ast
import copy
import importlib.util
import json
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from airflow_audit_provider import get_provider_info as declaration
from tests.architecture.source_files import PACKAGE, PROJECT

DISTRIBUTION = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["name"]


def get_provider_info() -> dict[str, Any]:
    """Returns the declaration with its type, which its own module cannot state without an import."""
    ask: Callable[[], dict[str, Any]] = declaration.get_provider_info
    return ask()


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    """Returns the schema of the installed Airflow, read without importing it."""
    spec = importlib.util.find_spec("airflow")
    assert spec is not None
    assert spec.origin is not None
    loaded: dict[str, Any] = json.loads((Path(spec.origin).parent / "provider_info.schema.json").read_text())
    return loaded


def _class_paths(declared: object) -> Iterator[str]:
    """Returns every dotted path into the package that the declaration contains."""
    if isinstance(declared, dict):
        for child in declared.values():
            yield from _class_paths(child)
    elif isinstance(declared, list):
        for child in declared:
            yield from _class_paths(child)
    elif isinstance(declared, str) and re.fullmatch(rf"{PACKAGE}(\.\w+)+", declared):
        yield declared


def _exists(path: str) -> bool:
    """Returns whether a dotted path is a module of the package, or a name at a module's top level."""
    file, (parent, _, name) = PROJECT / path.replace(".", "/"), path.rpartition(".")
    if file.with_suffix(".py").exists() or (file / "__init__.py").exists():
        return True
    module = (PROJECT / parent.replace(".", "/")).with_suffix(".py")
    return module.exists() and name in _top_level(module)


def _top_level(module: Path) -> set[str]:
    body = ast.parse(module.read_text()).body
    return {node.name for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef)}


def test_declaration_fits_airflows_schema(schema: dict[str, Any]) -> None:
    """The declaration is valid under the schema of the installed Airflow."""
    jsonschema.validate(get_provider_info(), schema)


def test_schema_can_refuse(schema: dict[str, Any]) -> None:
    """A declaration without a name is invalid under the same schema."""
    broken = copy.deepcopy(get_provider_info())
    del broken["name"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema)


def test_package_name_is_the_distributions() -> None:
    """The declared package is the canonical name of the distribution, as Airflow requires."""
    canonical = re.sub(r"[-_.]+", "-", DISTRIBUTION).lower()
    assert get_provider_info()["package-name"] == canonical == DISTRIBUTION


def test_declared_paths_exist() -> None:
    """Each module and class that the declaration names is in the package."""
    paths = list(_class_paths(get_provider_info()))
    assert paths
    assert [path for path in paths if not _exists(path)] == []


def test_missing_path_is_noticed() -> None:
    """A path to nothing is distinguished from a path to a class."""
    assert not _exists(f"{PACKAGE}.exceptions.Nothing")
    assert _exists(f"{PACKAGE}.exceptions.SourceError")


def test_each_call_answers_anew() -> None:
    """A caller that changes its declaration does not change the declaration of the next caller."""
    get_provider_info().clear()
    assert get_provider_info()


def test_version_is_written_once() -> None:
    """The project's version is read from the package, and the declaration does not repeat it."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert "version" not in project
    assert project["dynamic"] == ["version"]
    assert "versions" not in get_provider_info()
