"""The environment of one Airflow version: made once from its lock, and given the wheel anew for each run.

Invariant: the provider is the built wheel, never the working tree.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.live.versions import interpreters
from tests.live.versions.versions import AirflowVersion


class InstallationError(RuntimeError):
    """uv could not make an environment; its own words are in the message."""


def prepare(version: AirflowVersion, wheel: Path) -> Path:
    """Return the Python of an environment that has this Airflow and the wheel."""
    python = version.folder / "bin" / "python"
    interpreter = interpreters.find(version.pythons)
    digest = hashlib.sha256(version.lock.read_bytes() + str(interpreter).encode()).hexdigest()
    mark = version.folder / "made-from"
    if not mark.exists() or mark.read_text() != digest:
        _make(version, interpreter, python)
        mark.write_text(digest)
    _uv("pip", "install", "--python", python, "--no-deps", "--reinstall", wheel)
    return python


def _make(version: AirflowVersion, interpreter: Path, python: Path) -> None:
    shutil.rmtree(version.folder, ignore_errors=True)
    _uv("venv", "--python", interpreter, version.folder)
    _uv("pip", "sync", "--python", python, "--require-hashes", "--no-build", version.lock)


def _uv(*arguments: str | Path) -> None:
    """Run the test environment's own uv, which must not fetch a Python."""
    command = [sys.executable, "-m", "uv", "--quiet", "--no-config", *map(str, arguments)]
    # The machine's own certificates, as pip uses them: a registry may stand behind a company's proxy.
    environment = {**os.environ, "UV_PYTHON_DOWNLOADS": "never", "UV_SYSTEM_CERTS": "true"}
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise InstallationError(f"uv {arguments[0]} failed:\n{answer.stdout}{answer.stderr}")
