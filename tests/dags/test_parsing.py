"""Parsing an example takes Airflow's DAG processor hardly longer than parsing an empty DAG."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.live.versions.versions import PROJECT

EXAMPLES = sorted(path.name for path in (PROJECT / "dags").glob("*.py"))
TURN_COUNT, AT_MOST = 21, 1.1
# What importing the provider anew in every fork may cost on top, where Airflow loads its plugins too early.
AT_MOST_ANEW = 1.3
# What an example may load: declarations and names.
DECLARATIONS = re.compile(
    r"airflow_audit_provider\.("
    r"exceptions|assets(\.audit_logs)?|links(\.audit_logs)?|adapters(\.clock|\.storage(\.(libraries|uris))?)?"
    r"|formats(\.(options|ocsf(\.severity)?))?"
    r"|core(\.(limits|archive(\.security_lake)?|windows(\.window)?|api(\.(endpoints|record_filter))?|watch(\.polling)?))?"
    r"|_airflow(\.(arguments|compat|config|deferral|destinations|faster_imports|stitched_landing|task_errors))?"
    r"|operators(\.(audit_logs|changes|coverage|detect|plan|verify|seal|reconcile|report|warehouses))?"
    r"|sensors(\.audit_logs)?|triggers(\.(audit_logs|deadline))?)"
)
HEAVY = re.compile(r"(pyarrow|duckdb|pyiceberg|deltalake|difflib)(\.|$)")


def _parsed(folder: Path, turn_count: int) -> dict[str, Any]:
    """Returns the output of the script that parses all examples, in a separate process."""
    script = Path(__file__).with_name("parse_times.py")
    # An installed package has byte code; without it every fork would compile what it imports.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    answer = subprocess.run(
        [sys.executable, script, PROJECT / "dags", folder, str(turn_count)],
        env=environment | {"AIRFLOW_HOME": str(folder / "home")},
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    found: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The modules that parsing each example loads."""
    return _parsed(tmp_path_factory.mktemp("modules"), 0)


@pytest.fixture(scope="module")
def times(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The CPU times of parsing each example and its empty twin, in seconds."""
    return _parsed(tmp_path_factory.mktemp("times"), TURN_COUNT)


# A ratio of CPU times taken in turn: what slows the machine slows both.
@pytest.mark.nightly
@pytest.mark.parametrize("name", EXAMPLES)
def test_example_parses_as_fast_as_an_empty_one(times: dict[str, Any], name: str) -> None:
    """Parsing takes at most 1.1 times as long as for an empty DAG, or a little more without the plugin."""
    assert times["times"][name]["ratio"] <= AT_MOST, times["times"][name]
    assert times["without_plugins"][name]["ratio"] <= AT_MOST_ANEW, times["without_plugins"][name]


@pytest.mark.integration
@pytest.mark.parametrize("name", EXAMPLES)
def test_no_fork_imports_the_provider_anew(modules: dict[str, Any], name: str) -> None:
    """The plugin has imported what an example needs before Airflow forks."""
    assert modules["imported_anew"][name] == []


@pytest.mark.integration
@pytest.mark.parametrize("name", EXAMPLES)
def test_parsing_loads_declarations_alone(modules: dict[str, Any], name: str) -> None:
    """Parsing an example imports the operators and their argument checks, but no code that reads or writes."""
    loaded = modules["loaded"][name]
    ours = [module for module in loaded if module.startswith("airflow_audit_provider.")]
    assert ours
    assert not [module for module in ours if not DECLARATIONS.fullmatch(module)]
    assert not [module for module in loaded if HEAVY.match(module)]
