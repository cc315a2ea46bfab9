"""The environment of one Airflow version, created from its lock file, with the provider's wheel installed.

Test processes share it, so a lock file lets one of them at a time change it, and an installed wheel is kept while its
bytes are the same.

Invariant: the provider is the built wheel, never the working tree.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.live.versions import interpreters
from tests.live.versions.versions import AirflowVersion


class InstallationError(RuntimeError):
    """uv could not create an environment; the message has its output."""


def prepare(version: AirflowVersion, wheel: Path) -> Path:
    """Returns the Python of an environment that has this Airflow and the wheel."""
    python = version.folder / "bin" / "python"
    version.folder.parent.mkdir(parents=True, exist_ok=True)
    with version.folder.with_name(f"{version.folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        interpreter = interpreters.find(version.pythons)
        if not _has(version, "made-from", version.lock.read_bytes() + str(interpreter).encode()):
            _make(version, interpreter, python)
            _note(version, "made-from", version.lock.read_bytes() + str(interpreter).encode())
        if not _has(version, "wheel-installed", wheel.read_bytes()):
            _uv("pip", "install", "--python", python, "--no-deps", "--reinstall", wheel)
            _note(version, "wheel-installed", wheel.read_bytes())
    return python


def _has(version: AirflowVersion, name: str, content: bytes) -> bool:
    """Returns whether the environment was created from this content."""
    file = version.folder / name
    return file.exists() and file.read_text() == hashlib.sha256(content).hexdigest()


def _note(version: AirflowVersion, name: str, content: bytes) -> None:
    (version.folder / name).write_text(hashlib.sha256(content).hexdigest())


def _make(version: AirflowVersion, interpreter: Path, python: Path) -> None:
    shutil.rmtree(version.folder, ignore_errors=True)
    _uv("venv", "--python", interpreter, version.folder)
    _uv("pip", "sync", "--python", python, "--require-hashes", "--no-build", version.lock)


def _uv(*arguments: str | Path) -> None:
    """Runs the test environment's own uv, which must not download a Python."""
    command = [sys.executable, "-m", "uv", "--quiet", "--no-config", *map(str, arguments)]
    # The machine's own certificates, as pip uses them: a registry may stand behind a company's proxy.
    environment = {**os.environ, "UV_PYTHON_DOWNLOADS": "never", "UV_SYSTEM_CERTS": "true"}
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise InstallationError(f"uv {arguments[0]} failed:\n{answer.stdout}{answer.stderr}")
