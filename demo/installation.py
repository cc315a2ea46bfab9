"""The demo's own virtual environment: made once, from hashes, and left alone while nothing changed.

Knows: how to make a venv, have pip fill it, and stamp what it was filled from.
Must not know: what the packages are for.
Its one rule: standard library only; an environment without its stamp is made again from nothing.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from demo.layout import Layout
from demo.preflight import RefusalError

REPORT_EVERY_SECONDS = 10.0


def is_current(layout: Layout) -> bool:
    """Whether the environment was filled from today's lock file and project, by a Python that still exists."""
    return _stamped(layout, "packages", [layout.requirements]) and _stamped(layout, "project", _project_files(layout))


def install(layout: Layout) -> None:
    """Bring the environment up to date; raises RefusalError with the end of pip's own log if pip fails."""
    layout.logs.mkdir(parents=True, exist_ok=True)
    environ = pip_environ(os.environ)
    pip = [str(layout.python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    if not _stamped(layout, "packages", [layout.requirements]):
        shutil.rmtree(layout.venv, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(layout.venv)], layout, environ, "Making a virtual environment")
        locked = [*pip, "--require-hashes", "-r", str(layout.requirements)]
        _run(locked, layout, environ, "Installing Airflow 3.3.2 and what it needs, by hash")
        _stamp(layout, "packages", [layout.requirements])
    project = [*pip, "--no-deps", "--no-build-isolation", "--force-reinstall", str(layout.checkout)]
    _run(project, layout, environ, "Installing this project")
    _stamp(layout, "project", _project_files(layout))


def _project_files(layout: Layout) -> list[Path]:
    return [layout.checkout / "pyproject.toml", *sorted(layout.package.rglob("*.py"))]


def _digest(sources: Sequence[Path]) -> str:
    """The digest of what was installed from, and by which Python."""
    total = hashlib.sha256(sys.version.encode())
    for source in sources:
        if not source.is_file():
            raise RefusalError(f"{source} is missing: check the repository out again.")
        total.update(f"\0{source}\0".encode() + source.read_bytes())
    return total.hexdigest()


def _stamp(layout: Layout, name: str, sources: Sequence[Path]) -> None:
    (layout.venv / f"{name}.stamp").write_text(_digest(sources))


def _stamped(layout: Layout, name: str, sources: Sequence[Path]) -> bool:
    stamp = layout.venv / f"{name}.stamp"
    return layout.python.exists() and stamp.is_file() and stamp.read_text() == _digest(sources)


def pip_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment without what would lead pip or Python to another place; indexes and proxies stay."""
    astray = {"PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_USER", "PIP_PREFIX", "PIP_ROOT", "PIP_REQUIRE_VIRTUALENV"}
    return {name: value for name, value in environ.items() if name not in astray}


def _run(command: Sequence[str], layout: Layout, environ: Mapping[str, str], title: str) -> None:
    log = layout.logs / "install.log"
    started = time.monotonic()
    with log.open("ab") as sink:
        child = subprocess.Popen(command, stdout=sink, stderr=subprocess.STDOUT, env=dict(environ), cwd=layout.root)
        try:
            _wait(child, title, started)
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
    if child.returncode != 0:
        raise RefusalError(f"{title} failed; the end of {log} says:\n{tail(log)}\nMend that and run `make demo` again.")
    print(f"  {title}: {time.monotonic() - started:.1f} s", flush=True)


def _wait(child: subprocess.Popen[bytes], title: str, started: float) -> None:
    while True:
        try:
            child.wait(timeout=REPORT_EVERY_SECONDS)
            return
        except subprocess.TimeoutExpired:
            print(f"  {title} … {time.monotonic() - started:.0f} s", flush=True)


def tail(path: Path, line_count: int = 15) -> str:
    """The last lines of a text file, indented; a missing file gives an empty text."""
    if not path.is_file():
        return ""
    lines = path.read_text(errors="replace").rstrip().splitlines()[-line_count:]
    return "\n".join(f"    {line}" for line in lines)
