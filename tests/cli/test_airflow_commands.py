"""Airflow's own command line has this package's commands, and does not start later because of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.cli.__main__ import main
from harness.airflow_environment import isolated_environ
from tests.pipelines.verify.dataset import two_days

pytestmark = pytest.mark.integration


def airflow(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs the real command ``airflow``."""
    environ = isolated_environ(os.environ) | {"AIRFLOW_HOME": str(home), "COLUMNS": "100"}
    command = [str(Path(sys.executable).with_name("airflow")), *words]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=300)


def test_commands_hang_below_airflows_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The output and the exit status are those of the package's own command, also for a problem."""
    store = LocalStore(str(tmp_path / "audit"))
    two_days(store)
    words = ["coverage", str(tmp_path / "audit"), "--json", "--end", "2026-10-29T12:00:00Z"]
    answer = airflow(tmp_path / "home", "cloudflare-audit", *words)
    assert main(words) == answer.returncode == 1, answer.stderr
    assert answer.stdout == capsys.readouterr().out


@pytest.mark.nightly
def test_help_and_success_are_as_in_airflows_own_commands(tmp_path: Path) -> None:
    """The help names Airflow's command, and a command without a problem has the exit status 0."""
    two_days(LocalStore(str(tmp_path / "audit")))
    words = ["coverage", str(tmp_path / "audit"), "--end", "2026-10-27T12:00:00Z"]
    assert airflow(tmp_path / "home", "cloudflare-audit", *words).returncode == 0
    shown = airflow(tmp_path / "home", "cloudflare-audit", "help")
    assert shown.returncode == 0
    assert shown.stdout.startswith("usage: airflow cloudflare-audit [-h]")


def test_start_of_airflow_loads_nothing_that_a_command_needs() -> None:
    """The function that Airflow calls at each start imports no store, no parser and no library of this package."""
    code = (
        "import sys; from airflow.cli import cli_config; before = set(sys.modules)\n"
        "from airflow_audit_provider.cli.airflow_commands import get_commands\n"
        "(command,) = get_commands()\n"
        "print(command.name, *sorted(set(sys.modules) - before))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    name, *loaded = answer.stdout.splitlines()[-1].split()
    assert name == "cloudflare-audit"
    # The package itself may be there already: Airflow has imported its plugins.
    assert set(loaded) <= {
        "airflow_audit_provider",
        "airflow_audit_provider.cli",
        "airflow_audit_provider.cli.airflow_commands",
    }
