"""Real Redis or Valkey server in a temporary folder, which listens on loopback only.

A missing binary is an error, never a skipped test.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

from airflow_audit_provider.adapters.budget.redis_connection import RedisConnection, RedisServer
from tests.adapters.storage.serving import free_port

PASSWORD = "secret-of-the-server"


class RunningRedis:
    """A server that can be stopped, frozen and started again on the same port, without its data."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.server = RedisServer("127.0.0.1", free_port())
        self._folder = folder
        self._options = options
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts the server and waits until it answers."""
        binary = shutil.which("redis-server") or shutil.which("valkey-server")
        if binary is None:
            raise RuntimeError("Redis is not installed. Run: apt-get install redis-server")
        command = [binary, "--port", str(self.server.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        with (self._folder / "redis.log").open("ab") as log:
            self._child = subprocess.Popen(
                [*command, "--dir", str(self._folder), *self._options], stdout=log, stderr=subprocess.STDOUT
            )
        for _ in range(600):
            try:
                return RedisConnection(self.server).close()
            except OSError:
                time.sleep(0.05)
        raise RuntimeError((self._folder / "redis.log").read_text())

    def stop(self) -> None:
        """Kills the server; what it holds is lost."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None
