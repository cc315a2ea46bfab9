"""The examples cost Airflow's DAG processor hardly more than DAGs that do nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.matrix.versions import PROJECT

pytestmark = pytest.mark.slow
EXAMPLES = sorted(path.name for path in (PROJECT / "dags").glob("*.py"))
TURN_COUNT, AT_MOST = 31, 1.1
# What only a run needs: Airflow parses each file in a process that has imported nothing of ours before.
ONLY_IN_A_RUN = re.compile(
    r"airflow_audit_provider\.(pipeline|pulling|staging|looking_back|watching|auditing|notary|loading|commits"
    r"|formats\.(?!part_format|normalized|ocsf$)\w+|hooks\.cloudflare|adapters\.(?!clock)\w+"
    r"|core\.(paging|reading|exchange|pseudonyms|commit|planning))"
    r"|(pyarrow|duckdb|pyiceberg|cryptography|zstandard|difflib)(\.|$)"
)


@pytest.fixture(scope="module")
def times(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The CPU times, in seconds, taken in a process of their own."""
    folder = tmp_path_factory.mktemp("parsing")
    script = Path(__file__).with_name("parse_times.py")
    settings = {"AIRFLOW_HOME": str(folder / "home"), "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"}
    answer = subprocess.run(
        [sys.executable, script, PROJECT / "dags", folder, str(TURN_COUNT)],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    found: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_parses_as_fast_as_an_empty_one(times: dict[str, Any], name: str) -> None:
    """An example takes at most 1.1 times as long as the same file with empty tasks, once the modules are imported."""
    taken = times["parse"][name]
    assert taken["ratio"] <= AT_MOST, taken


@pytest.mark.parametrize("name", EXAMPLES)
def test_parsing_loads_nothing_that_only_a_run_needs(times: dict[str, Any], name: str) -> None:
    """Parsing an example imports the operators and what refuses impossible arguments, not what reads or writes."""
    loaded = times["loaded"][name]
    assert any(module.startswith("airflow_audit_provider.") for module in loaded)
    assert not [module for module in loaded if ONLY_IN_A_RUN.match(module)]


def test_import_is_a_small_part_of_airflows_own(times: dict[str, Any]) -> None:
    """In a fresh interpreter, Airflow and an example take at most 1.1 times as long as Airflow and an empty file."""
    slowest = max(times["parse"].values(), key=lambda taken: taken["example"] - taken["empty"])
    empty = times["airflow_import"] + slowest["empty"]
    assert times["airflow_import"] + times["our_import"] + slowest["example"] <= AT_MOST * empty, times
