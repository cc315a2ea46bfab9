"""Import contracts: the package keeps them, and each of them can fail.

The contracts are those of pyproject.toml. The offenders are planted in a skeleton: the modules of the real package, all
of them empty, so that a contract is broken by the planted import and by nothing else.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import grimp
import pytest

from tests.architecture.source_files import PACKAGE, PROJECT, python_files

LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")
CONTRACTS = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
LAYER_CONTRACTS = {each["name"]: each["containers"] for each in CONTRACTS if each["type"] == "layers"}


class Planted(NamedTuple):
    """One import that breaks a contract; a module that starts with a dot is one of the package."""

    contract: str
    importer: str
    imported: str


PLANTED = (
    Planted("Layers of the package: arrows point down", "pipelines.pull", ".hooks.cloudflare"),
    Planted("Layers of the package: arrows point down", "hooks.cloudflare", ".triggers.audit_logs"),
    Planted("Layers of the package: arrows point down", "formats.jsonl", ".adapters.clock"),
    Planted("Layers of the package: arrows point down", "_airflow.config", ".operators.seal"),
    Planted("Layers of the package: arrows point down", "hooks.cloudflare", ".testing.server"),
    Planted("Layers of the core", "core.windows.window", ".core.archive.manifest"),
    Planted("Layers of the core", "core.paging.fetch", ".core.privacy.rule"),
    Planted("Layers of the page protocol", "core.paging.page_size", ".core.paging.paginator"),
    Planted("Layers of the pipelines", "pipelines.observer", ".pipelines.pull"),
    Planted("No circle between siblings", "core.verification.seals", ".core.verification.findings"),
    Planted("Airflow stops at the Airflow layer", "pipelines.pull", "airflow.sdk"),
    Planted("Airflow stops at the Airflow layer", "testing.server", "airflow.models"),
    Planted("The core does no I/O", "core.api.records", "time"),
    Planted("The core does no I/O", "core.ports", "random"),
    Planted("httpx: the Cloudflare and time stamp adapters, the hook, the test double", "pipelines.pull", "httpx"),
    Planted("fsspec: the storage adapter", "adapters.storage.local_store", "fsspec.spec"),
    Planted("Libraries of the extra seal: signing and time stamp adapters", "pipelines.seal", "cryptography.hazmat"),
    Planted("redis: the store of the shared request budget", "adapters.budget.shared_budget", "redis"),
    Planted("Warehouse libraries: their adapters, and rules", "adapters.warehouses.sql", "duckdb"),
    Planted("Warehouse libraries: their adapters, and rules", "operators.warehouses", "pyiceberg.table"),
    Planted("pySigma: the Sigma rules", "pipelines.pull", "sigma.rule"),
    Planted("pyarrow: Parquet, and where tables are made or loaded", "formats.jsonl", "pyarrow.parquet"),
    Planted("isal, zstandard: compression", "formats.jsonl", "zstandard"),
    Planted("Tracing and lineage libraries are never imported", "_airflow.secrets", "opentelemetry.trace"),
)  # fmt: skip
# The other half of a circle: the module imported by the one planted above imports it back.
CIRCLE = ("core.verification.findings", "core.verification.seals")


def _lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Checks the package below a folder against the project's contracts."""
    command = [str(LINT_IMPORTS), "--config", str(PROJECT / "pyproject.toml"), "--no-cache"]
    environment = {"PYTHONPATH": str(folder), "PATH": "", "COLUMNS": "200"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def _skeleton(folder: Path, imports: Mapping[str, list[str]] | None = None) -> Path:
    """Creates the modules of the real package without code, but with the given imports inside a function."""
    for source in python_files(PACKAGE):
        path = folder / source.path
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = (imports or {}).get(source.module, [])
        path.write_text("".join(f"def f{number}():\n    import {line}\n" for number, line in enumerate(lines)))
    return folder


def _sections(output: str) -> Iterator[tuple[str, str]]:
    """Yields the title and the text of each broken contract of a report."""
    _, _, report = output.partition("Broken contracts")
    lines = report.splitlines()
    starts = [number for number, line in enumerate(lines) if number and re.fullmatch(r"-{3,}", line.strip())]
    for start, end in zip(starts, [*starts[1:], len(lines) + 1], strict=True):
        yield lines[start - 1].strip(), "\n".join(lines[start + 1 : end - 1])


@pytest.fixture(scope="module")
def planted_report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Returns the text of each contract that a skeleton with every planted offender breaks."""
    imports: dict[str, list[str]] = {}
    for _, importer, imported in PLANTED:
        imports.setdefault(f"{PACKAGE}.{importer}", []).append(_full_name(imported))
    imports.setdefault(f"{PACKAGE}.{CIRCLE[0]}", []).append(f"{PACKAGE}.{CIRCLE[1]}")
    answer = _lint(_skeleton(tmp_path_factory.mktemp("planted"), imports))
    assert answer.returncode == 1, answer.stdout + answer.stderr
    return dict(_sections(answer.stdout))


def _full_name(module: str) -> str:
    return f"{PACKAGE}{module}" if module.startswith(".") else module


def test_package_keeps_every_contract() -> None:
    """The package breaks none of the contracts."""
    answer = _lint(PROJECT)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_skeleton_keeps_every_contract(tmp_path: Path) -> None:
    """A package with the real modules and no imports breaks none of the contracts."""
    answer = _lint(_skeleton(tmp_path))
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert f"{len(CONTRACTS)} kept, 0 broken" in answer.stdout


def test_exceptions_of_contracts_are_imports_of_the_package() -> None:
    """Each exception that a contract makes for one module is an import that this module has."""
    graph = grimp.build_graph(PACKAGE, include_external_packages=True, cache_dir=None)
    exceptions = [line.split(" -> ") for each in CONTRACTS for line in each.get("ignore_imports", [])]
    named = [(importer, imported) for importer, imported in exceptions if "*" not in importer]
    missing = [each for each in named if not graph.direct_import_exists(importer=each[0], imported=each[1])]
    assert named
    assert not missing


def test_every_contract_has_an_offender() -> None:
    """Each contract of pyproject.toml has a planted import that breaks it, and each planted import has a contract."""
    assert {each["name"] for each in CONTRACTS} == {planted.contract for planted in PLANTED}


@pytest.mark.parametrize("planted", PLANTED, ids=[f"{each.importer}-{each.imported}" for each in PLANTED])
def test_contract_names_the_planted_import(planted: Planted, planted_report: dict[str, str]) -> None:
    """A contract is broken by the import planted against it, and its report names the two modules."""
    found = planted_report.get(planted.contract, "")
    importer, imported = (_full_name(name) for name in (f".{planted.importer}", planted.imported))
    assert planted.contract in planted_report, list(planted_report)
    if planted.contract != "No circle between siblings":
        # A package from outside is reported by its top-level name.
        top = imported if imported.startswith(PACKAGE) else imported.split(".")[0]
        assert f"{importer} -> {top} " in found, found


def test_circle_contract_names_the_circle(planted_report: dict[str, str]) -> None:
    """The contract on circles names two modules of one package that import each other."""
    found = planted_report["No circle between siblings"]
    assert f"{PACKAGE}.core.verification" in found
    assert all(name.rsplit(".", 1)[-1] in found for name in CIRCLE)


@pytest.mark.parametrize("contract", LAYER_CONTRACTS)
def test_layer_contract_names_an_unlisted_module(contract: str, tmp_path: Path) -> None:
    """A layer contract is broken by a module that it does not list."""
    (container,) = LAYER_CONTRACTS[contract]
    root = _skeleton(tmp_path)
    (root / container.replace(".", "/") / "surprise.py").write_text("")
    answer = _lint(root)
    assert answer.returncode == 1, answer.stdout
    assert f"{container}.surprise" in dict(_sections(answer.stdout)).get(contract, ""), answer.stdout


@pytest.mark.parametrize(("container", "module_limit", "arrow_limit"), [(PACKAGE, 18, 55), (f"{PACKAGE}.core", 11, 25)])
def test_level_has_few_modules_and_arrows(container: str, module_limit: int, arrow_limit: int) -> None:
    """The package and its core have few modules at their top level, and few imports between these."""
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    modules, arrows = level_counts(graph, container)
    print(f"{container}: {len(modules)} modules, {len(arrows)} arrows")
    assert len(modules) <= module_limit, sorted(modules)
    assert len(arrows) <= arrow_limit, sorted(arrows)


def level_counts(graph: grimp.ImportGraph, container: str) -> tuple[set[str], set[tuple[str, str]]]:
    """Returns the modules directly below a package, and the imports between them, including those of submodules."""
    modules = graph.find_children(container)
    arrows = {
        (importer, imported)
        for importer in modules
        for imported in modules - {importer}
        if graph.direct_import_exists(importer=importer, imported=imported, as_packages=True)
    }
    return modules, arrows


def test_level_counts_see_an_import_that_lies_deeper() -> None:
    """An import between modules of two subpackages counts as one import between the two."""
    graph = grimp.ImportGraph()
    for module in ("p", "p.a", "p.a.x", "p.b", "p.b.y", "p.c"):
        graph.add_module(module)
    graph.add_import(importer="p.a.x", imported="p.b.y")
    graph.add_import(importer="p.a", imported="p.b")
    assert level_counts(graph, "p") == ({"p.a", "p.b", "p.c"}, {("p.a", "p.b")})
