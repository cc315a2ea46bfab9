"""Installs the servers the tests start, dbt, ClickHouse's engine and axe-core below .cache/servers, once a lock.

Invariant: everything by hash, nothing built and no install script run; what cannot be installed is an error, never a
test left out.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.environment import PROJECT, digest_of, install_packages, is_fresh

FOLDER = PROJECT / ".cache" / "servers"
PYTHON_LOCK = PROJECT / "requirements" / "servers.txt"
DBT_LOCK = PROJECT / "requirements" / "dbt.txt"
CLICKHOUSE_LOCK = PROJECT / "requirements" / "clickhouse.txt"
NPM = PROJECT / "requirements" / "npm"
AXE = PROJECT / "requirements" / "axe"
NPM_FILES = ("package.json", "package-lock.json")


class ServersMissingError(Exception):
    """The servers could not be installed; the message says what to do."""


def python_servers() -> Path:
    """Return the folder of the commands of the servers from PyPI, installed."""
    return _python_commands(PYTHON_LOCK, "python")


def dbt() -> Path:
    """Return the command of dbt, installed in an environment of its own."""
    return _python_commands(DBT_LOCK, "dbt") / "dbt"


def clickhouse_python() -> Path:
    """Return the Python that has ClickHouse's engine, installed in an environment of its own."""
    return _python_commands(CLICKHOUSE_LOCK, "clickhouse") / "python"


def _python_commands(lock: Path, name: str) -> Path:
    """Return the folder of the commands of the packages of a lock from PyPI, installed."""
    folder, made_from = FOLDER / name, FOLDER / f"{name}-made-from"
    with _one_at_a_time():
        if not is_fresh(made_from, digest_of(lock)):
            _run_or_explain(lambda: install_packages(folder, lock), "pip")
            made_from.write_text(digest_of(lock))
    return folder / "bin"


def npm_servers() -> Path:
    """Return the folder of the commands of the servers from npm, installed."""
    return _npm_modules(NPM) / ".bin"


def axe_script() -> Path:
    """Return the script of axe-core, installed."""
    return _npm_modules(AXE) / "axe-core" / "axe.min.js"


def _npm_modules(source: Path) -> Path:
    """Return the folder of the packages of a lock from npm, installed."""
    folder, digest = FOLDER / source.name, _npm_digest(source)
    made_from = FOLDER / f"{source.name}-made-from"
    with _one_at_a_time():
        if not is_fresh(made_from, digest):
            _run_or_explain(lambda: _install_npm(source, folder), "npm")
            made_from.write_text(digest)
    return folder / "node_modules"


def _install_npm(source: Path, folder: Path) -> None:
    print(f"Making {folder} from {source / NPM_FILES[1]} (some seconds) ...", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in NPM_FILES:
        shutil.copy(source / name, folder)
    # The lock holds integrity and no address: the registry is the machine's own.
    command = [_npm(), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"]
    subprocess.run(command, cwd=folder, check=True)


def _npm() -> str:
    found = shutil.which("npm")
    if found is None:
        raise ServersMissingError(
            "npm is not on this machine, and Azurite, s3rver and axe-core come by it. Install Node.js 18 or newer with "
            "npm."
        )
    return found


def _npm_digest(source: Path) -> str:
    return hashlib.sha256(b"".join((source / name).read_bytes() for name in NPM_FILES)).hexdigest()


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Let two test runs of one checkout install one after the other."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run_or_explain(install: Callable[[], None], tool: str) -> None:
    try:
        install()
    except subprocess.CalledProcessError as error:
        raise ServersMissingError(
            f"What the tests start could not be installed: {tool} ended with {error.returncode}; its words stand "
            "above. Fix it and run the tests again."
        ) from error


if __name__ == "__main__":
    try:
        python_servers()
        npm_servers()
        dbt()
    except ServersMissingError as error:
        sys.exit(str(error))
