"""Environments that the start of a task is measured in: the provider alone, and a full installation.

Invariant: packages have the versions of the constraints file that users install with, and the provider is this source
tree.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import venv
from pathlib import Path

from tools.environment import PROJECT, UV_FOLDER, is_fresh, python_in

FOLDER = PROJECT / ".cache" / "task-start"
AIRFLOW = "3.3.2"
# What each environment has beside the constraints of Airflow.
PACKAGES = {
    "bare": (f"{PROJECT}[parquet,zstd,s3]",),
    "full": (f"{PROJECT}[parquet,zstd,s3,gcs,azure]", "apache-airflow-providers-openlineage", "pandas"),
}


def python_of(name: str) -> str:
    """Returns the interpreter of an environment, which is created if it is not there or not current."""
    folder, constraints = FOLDER / name, _constraints()
    digest = hashlib.sha256(
        constraints.read_bytes() + (PROJECT / "pyproject.toml").read_bytes() + repr(PACKAGES[name]).encode()
    ).hexdigest()
    if not is_fresh(folder / "made-from", digest):
        print(f"Making {folder} ...", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([*_installer(folder), "-c", str(constraints), "-e", *PACKAGES[name]], check=True)
        (folder / "made-from").write_text(digest)
    return python_in(folder)


def _constraints() -> Path:
    major, minor = sys.version_info[:2]
    return PROJECT / "constraints" / f"airflow-{AIRFLOW}-python-{major}.{minor}.txt"


def _installer(folder: Path) -> list[str]:
    """Returns the command that installs packages: uv if the tests' environment has installed it, else pip."""
    uv = UV_FOLDER / "bin" / "uv"
    if uv.exists():
        return [str(uv), "--quiet", "pip", "install", "--compile-bytecode", "--python", python_in(folder)]
    return [python_in(folder), "-m", "pip", "-qq", "--disable-pip-version-check", "install"]
