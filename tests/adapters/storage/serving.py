"""Starts a server on a free port and stops it.

A server that does not start is an error with the end of its log, never a skipped test.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness.child_processes import free_ports

_START_TIMEOUT_SECONDS = 300.0


def free_port() -> int:
    """Returns a free port of the loopback interface."""
    (port,) = free_ports(1)
    return port


@contextmanager
def served(
    command: Sequence[str], port: int, folder: Path, env: Mapping[str, str] | None = None, user: str | None = None
) -> Iterator[str]:
    """Runs a server until the end of the block, as ``user`` if given; yields its URL as soon as its port is open."""
    log = folder / "server.log"
    with log.open("wb") as output:
        environment = {**os.environ, **(env or {})}
        child = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT, user=user
        )
        try:
            _await_port(child, port, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            child.terminate()
            try:
                child.wait(60)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _await_port(child: subprocess.Popen[bytes], port: int, log: Path) -> None:
    give_up_at = time.monotonic() + _START_TIMEOUT_SECONDS
    while time.monotonic() < give_up_at:
        with socket.socket() as knock:
            if knock.connect_ex(("127.0.0.1", port)) == 0:
                return
        if child.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError(f"{child.args!r} does not listen at {port}; its log ends:\n{log.read_text()[-2000:]}")
