"""Starts a PostgreSQL server for one test, from Debian's binaries, in a folder that is removed afterwards.

Invariant: it listens on loopback and in its own folder only, and is ended by the id of the process that was started.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.child_processes import free_ports

WITHIN_SECONDS = 300.0
# Nothing here has to outlive the machine.
OPTIONS = ("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "max_connections=200")


class NoPostgresError(RuntimeError):
    """PostgreSQL is not installed on this machine; the message says how to install it."""


def binaries() -> Path:
    """Returns the folder of the newest installed server; raises NoPostgresError."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    if not found and not on_path:
        raise NoPostgresError("PostgreSQL is missing. Run tools/system-packages as root, or install it yourself.")
    return found[-1].parent if found else Path(str(on_path)).parent


@contextmanager
def running_postgres() -> Iterator[str]:
    """Starts a server with an empty database and yields its SQLAlchemy URL."""
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    someone = _unprivileged(folder)
    try:
        initdb = [str(binaries() / "initdb"), "-D", f"{folder}/cluster", "-U", "airflow", "-A", "trust", "-E", "UTF8"]
        subprocess.run([*initdb, "--no-sync"], check=True, capture_output=True, cwd=folder, **someone)
        with _server(folder, someone) as port:
            yield f"postgresql+psycopg2://airflow@127.0.0.1:{port}/postgres"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged(folder: Path) -> dict[str, Any]:
    """Returns the user to run the server as: the current user, or Debian's postgres user if that is root."""
    if os.geteuid() != 0:
        return {}
    owner = pwd.getpwnam("postgres")
    os.chown(folder, owner.pw_uid, owner.pw_gid)
    return {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}


@contextmanager
def _server(folder: Path, someone: dict[str, Any]) -> Iterator[int]:
    (port,) = free_ports(1)
    places = ("-D", f"{folder}/cluster", "-h", "127.0.0.1", "-p", str(port), "-k", str(folder))
    with (folder / "server.log").open("wb") as log:
        command = [str(binaries() / "postgres"), *places, *OPTIONS]
        server: subprocess.Popen[bytes] = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, **someone)
    try:
        _await_ready(server, port, folder)
        yield port
    finally:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(WITHIN_SECONDS)
        finally:
            server.kill()


def _await_ready(server: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    deadline = time.monotonic() + WITHIN_SECONDS
    asked = [str(binaries() / "pg_isready"), "-h", "127.0.0.1", "-p", str(port)]
    while subprocess.run(asked, capture_output=True, check=False).returncode != 0:
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"PostgreSQL did not come up:\n{(folder / 'server.log').read_text()}")
        time.sleep(0.1)
