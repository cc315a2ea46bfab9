"""Inspects one Airflow version in a fresh home with a fresh database.

Invariant: the caller's own Airflow settings have no effect.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.live.migrated_database import fill_home
from tests.live.versions import environments
from tests.live.versions.versions import PROJECT, AirflowVersion

PATIENCE_SECONDS = 900
PROBE = Path(__file__).with_name("inspect_airflow.py")


class BrokenRunError(RuntimeError):
    """A command of the inspection failed; the message has its output."""


def look(version: AirflowVersion, wheel: Path, home: Path) -> dict[str, Any]:
    """Prepares the version's environment and a database, runs inspect_airflow.py, returns its report."""
    python = environments.prepare(version, wheel)
    environment = settings(home)
    shutil.copytree(PROJECT / "dags", home / "dags", ignore=shutil.ignore_patterns("__pycache__"))
    migrate = [python, "-m", "airflow", "db", "migrate"]
    fill_home(home, version.number, lambda: _run(migrate, home, environment))
    day = datetime.now(UTC).date() - timedelta(days=3)
    _run([python, PROBE, home, day.isoformat(), (day + timedelta(days=1)).isoformat()], home, environment)
    report: dict[str, Any] = json.loads((home / "report.json").read_text())
    return report


def settings(home: Path) -> dict[str, str]:
    """Returns the environment variables of one inspection: SQLite, our examples only, everything below its home."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("AIRFLOW", "AUDIT_", "PYTHON"))}
    start = datetime.now(UTC).date() - timedelta(days=10)
    return {
        **kept,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "AUDIT_DESTINATION": f"file://{home / 'landed'}",
        "AUDIT_START_DATE": start.isoformat(),
        "NO_PROXY": "*",
        "COLUMNS": "400",
    }


def _run(command: list[Any], home: Path, environment: dict[str, str]) -> str:
    """Runs one command in the home and returns its output."""
    words = [str(word) for word in command]
    answer = subprocess.run(
        words, cwd=home, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    if answer.returncode:
        raise BrokenRunError(f"{' '.join(words)} ended with {answer.returncode}:\n{answer.stdout}{answer.stderr}")
    return answer.stdout
