"""The arrows of the architecture are held by import-linter, and the contracts can fail."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.sources import PACKAGE, PROJECT

LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")
SKELETON = (
    "core", "core/window", "core/records", "core/manifest", "exceptions", "formats", "formats/jsonl", "adapters",
    "adapters/http", "pipeline", "hooks", "hooks/cloudflare", "triggers", "sensors", "operators", "testing",
)  # fmt: skip


def _lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Hold the package below a folder against the project's contracts."""
    command = [str(LINT_IMPORTS), "--config", str(PROJECT / "pyproject.toml"), "--no-cache"]
    environment = {"PYTHONPATH": str(folder), "PATH": "", "COLUMNS": "200"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def _skeleton(folder: Path) -> Path:
    """Make an empty package with the layout of the real one."""
    root = folder / PACKAGE
    for name in ("", *SKELETON):
        is_folder = not name or any(other.startswith(f"{name}/") for other in SKELETON)
        path = root / name / "__init__.py" if is_folder else root / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    return root


def test_package_keeps_every_contract() -> None:
    """The package breaks none of the contracts."""
    answer = _lint(PROJECT)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_empty_layout_keeps_every_contract(tmp_path: Path) -> None:
    """A package with the layout and no imports breaks none of the contracts."""
    _skeleton(tmp_path)
    answer = _lint(tmp_path)
    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("pipeline.py", "import {}.hooks.cloudflare", "Arrows point down"),
        ("hooks/cloudflare.py", "import {}.triggers", "Arrows point down"),
        ("formats/jsonl.py", "import {}.adapters.http", "Arrows point down"),
        ("hooks/cloudflare.py", "import {}.testing", "Arrows point down"),
        ("surprise.py", "", "Arrows point down"),
        ("core/window.py", "import {}.core.manifest", "Inside the core"),
        ("core/surprise.py", "", "Inside the core"),
        ("pipeline.py", "import airflow.sdk", "Airflow stops at the shells"),
        ("adapters/http.py", "def f():\n    from airflow.sdk import BaseHook", "Airflow stops at the shells"),
        ("core/records.py", "import time", "deaf, blind and timeless"),
        ("core/records.py", "import {}.exceptions\nimport random", "deaf, blind and timeless"),
        ("pipeline.py", "import httpx", "HTTP is spoken by its adapter"),
        ("adapters/http.py", "import fsspec", "Paths are opened"),
        ("formats/jsonl.py", "import pyarrow", "Arrow is imported where"),
    ],
)
def test_contract_can_fail(tmp_path: Path, module: str, line: str, contract: str) -> None:
    """Each contract is broken by an import, or a module, that goes against it."""
    root = _skeleton(tmp_path)
    (root / module).write_text(line.format(PACKAGE, PACKAGE) + "\n")
    answer = _lint(tmp_path)
    broken = [each for each in answer.stdout.splitlines() if "BROKEN" in each or "not listed" in each.lower()]
    assert answer.returncode == 1, answer.stdout
    assert contract in answer.stdout
    assert broken, answer.stdout


def test_circle_between_neighbours_is_found(tmp_path: Path) -> None:
    """Two modules of one layer that import each other break the contract on circles."""
    root = _skeleton(tmp_path)
    (root / "core/window.py").write_text("")
    (root / "formats/csv.py").write_text(f"import {PACKAGE}.formats.jsonl\n")
    (root / "formats/jsonl.py").write_text(f"import {PACKAGE}.formats.csv\n")
    answer = _lint(tmp_path)
    assert answer.returncode == 1, answer.stdout
    assert "circle BROKEN" in " ".join(answer.stdout.split())
