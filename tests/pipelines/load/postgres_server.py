"""A real PostgreSQL of one's own, in a folder that goes away with it.

Knows: Debian's binaries, that PostgreSQL refuses to run as root. Must not know: what is stored.
Its one rule: it listens on loopback alone, and a missing binary is an error, never a test left out.
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
_PATIENCE_SECONDS = 300


@contextmanager
def postgres_server() -> Iterator[dict[str, Any]]:
    """Run a server; yield how to reach its database, as psycopg's connect takes it."""
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
    """Wait until the server takes connections: its port is open while it still refuses them as "starting up"."""
    give_up_at = time.monotonic() + _PATIENCE_SECONDS
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
    """Return whom to run as instead of root, None for anybody else."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"
