"""Real PostgreSQL server in a temporary folder, which listens on loopback only.

A missing binary is an error, never a skipped test. PostgreSQL refuses to run as root, so root runs it as another user.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from tests.adapters.storage.serving import free_port, served

OWNER = "audit"
_START_TIMEOUT_SECONDS = 300


@contextmanager
def postgres_server() -> Iterator[dict[str, Any]]:
    """Runs a server; yields the arguments of psycopg's ``connect`` to its database."""
    binaries = _binaries()
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    user = _unprivileged_user()
    try:
        if user is not None:
            shutil.chown(folder, user)
        database = folder / "database"
        command = [str(binaries / "initdb"), "-D", str(database), "-U", OWNER, "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run(command, check=True, capture_output=True, user=user, cwd=folder)
        port = free_port()
        settings = ["listen_addresses=127.0.0.1", f"unix_socket_directories={folder}", "fsync=off"]
        options = [option for setting in settings for option in ("-c", setting)]
        server = [str(binaries / "postgres"), "-D", str(database), "-p", str(port), *options]
        with served(server, port, folder, user=user):
            connection = {"host": "127.0.0.1", "port": port, "user": OWNER, "dbname": "postgres"}
            _await_ready(connection)
            yield connection
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _await_ready(connection: dict[str, Any]) -> None:
    """Waits until the server accepts connections; it opens its port while it still answers "starting up"."""
    give_up_at = time.monotonic() + _START_TIMEOUT_SECONDS
    while True:
        try:
            return psycopg.connect(**connection).close()
        except psycopg.OperationalError:
            if time.monotonic() > give_up_at:
                raise
        time.sleep(0.1)


def _binaries() -> Path:
    found = [*Path("/usr/lib/postgresql").glob("*/bin/postgres"), shutil.which("postgres")]
    paths = sorted(Path(path) for path in found if path)
    if not paths:
        raise RuntimeError("PostgreSQL is not installed. Run: apt-get install postgresql")
    return paths[-1].parent


def _unprivileged_user() -> str | None:
    """Returns the user to run as if this process is root, otherwise None."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"
