"""Real Redis or Valkey server in a temporary folder, which listens on loopback only.

A missing binary is an error, never a skipped test.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path

from airflow_audit_provider.adapters.budget.redis_store import RedisServer
from tests.adapters.cloudflare.authority import Authority
from tests.adapters.storage.serving import free_port

PASSWORD = "secret-of-the-server"


class RunningRedis:
    """A server that can be stopped, frozen and started again on the same port, without its data."""

    def __init__(self, folder: Path, *options: str, authority: Authority | None = None) -> None:
        """With an ``authority``, the server speaks TLS only, with that authority's certificate of 127.0.0.1."""
        port = free_port()
        self.server = RedisServer("127.0.0.1", port)
        self._folder = folder
        self._options = [*(["--port", str(port)] if authority is None else _tls_options(port, authority)), *options]
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts the server and waits until it answers."""
        binary = shutil.which("redis-server") or shutil.which("valkey-server")
        if binary is None:
            raise RuntimeError("Redis is not installed. Run: apt-get install redis-server")
        command = [binary, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        with (self._folder / "redis.log").open("ab") as log:
            self._child = subprocess.Popen(
                [*command, "--dir", str(self._folder), *self._options], stdout=log, stderr=subprocess.STDOUT
            )
        for _ in range(600):
            try:
                return socket.create_connection((self.server.host, self.server.port), 1).close()
            except OSError:
                time.sleep(0.05)
        raise RuntimeError((self._folder / "redis.log").read_text())

    def stop(self) -> None:
        """Kills the server; what it holds is lost."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None


def _tls_options(port: int, authority: Authority) -> list[str]:
    """Returns the options of a server that speaks TLS only and asks for no certificate of a client."""
    chain = str(authority.file.with_name("server.pem"))
    certificates = ["--tls-cert-file", chain, "--tls-key-file", chain, "--tls-ca-cert-file", str(authority.file)]
    return ["--port", "0", "--tls-port", str(port), *certificates, "--tls-auth-clients", "no"]
