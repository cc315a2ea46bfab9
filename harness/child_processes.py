"""Starts child programs, each in a session of its own, and ends them with all their descendants.

Invariant: a process is ended by its id, never by its name, and only if it belongs to a session started here.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

# Below the ports that a system gives to outgoing connections and for ``bind`` to port 0 (Linux from 32768, macOS from
# 49152): another program would now and then take one of those while an Airflow component still starts.
PORTS = range(10_000, 32_000)
# The signals that end a child, each with the seconds to wait before the next one is sent.
END_SIGNALS: tuple[tuple[signal.Signals, float], ...] = (
    (signal.SIGINT, 5.0),
    (signal.SIGTERM, 2.0),
    (signal.SIGKILL, 2.0),
)

_INTERRUPTING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Child:
    """A started program; its process id is also the id of its session."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path


class ChildDiedError(Exception):
    """A child ended although it was still needed. `child` has its name and log file."""

    def __init__(self, child: Child) -> None:
        super().__init__(f"{child.name} ended unexpectedly with exit code {child.popen.returncode}")
        self.child = child


class Children:
    """The programs started so far. Leaving the `with` block ends them all."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.started: list[Child] = []

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, name: str, command: Sequence[str], environ: Mapping[str, str], *, cwd: Path) -> Child:
        """Starts a program in its own session; standard output and error go to `<logs>/<name>.log`."""
        log = self.logs / f"{name}.log"
        with ExitStack() as stack:
            sink = stack.enter_context(log.open("wb"))
            popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env=dict(environ),
                cwd=cwd,
                start_new_session=True,
            )
        child = Child(name, popen, log)
        self.started.append(child)
        return child

    def check(self) -> None:
        """Raises ChildDiedError if a child has ended."""
        for child in self.started:
            if child.popen.poll() is not None:
                raise ChildDiedError(child)

    def kill(self, name: str) -> None:
        """Kills one child and its descendants, as a machine that fails does, and stops watching it."""
        (child,) = (child for child in self.started if child.name == name)
        self.started.remove(child)
        killed = Children(self.logs)
        killed.started = [child]
        while killed.survivors():
            killed.signal(signal.SIGKILL)
            time.sleep(0.05)

    def stop(self) -> None:
        """Ends every child and every descendant in its session.

        A second Ctrl-C, ``kill`` or the end of the terminal does not interrupt this: nothing else would end them.
        """
        before = {number: signal.signal(number, signal.SIG_IGN) for number in _INTERRUPTING}
        try:
            for number, wait_seconds in END_SIGNALS:
                if not self.signal(number):
                    break
                self._await_end(wait_seconds)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def survivors(self) -> list[int]:
        """Returns the ids of the processes that still run in a session started here."""
        for child in self.started:
            child.popen.poll()
        sessions = {child.popen.pid for child in self.started}
        return [pid for pid in _all_pids(sessions) if _session(pid) in sessions]

    def signal(self, number: signal.Signals) -> bool:
        """Sends a signal to all running processes, SIGINT to the children alone; returns whether any was running."""
        pids = self.survivors()
        # On SIGINT a child ends its own children itself, in the right order.
        leaders = {child.popen.pid for child in self.started}
        for pid in [pid for pid in pids if pid in leaders] if number is signal.SIGINT else pids:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
        return bool(pids)

    def _await_end(self, wait_seconds: float) -> None:
        deadline = time.monotonic() + wait_seconds
        while time.monotonic() < deadline and self.survivors():
            time.sleep(0.05)


def _all_pids(sessions: set[int]) -> list[int]:
    proc = Path("/proc")
    if proc.is_dir():
        return [int(entry.name) for entry in proc.iterdir() if entry.name.isdigit()]
    listing = subprocess.run(["ps", "-axo", "pid="], capture_output=True, text=True, check=False).stdout
    return [int(word) for word in listing.split()] or sorted(sessions)


def _session(pid: int) -> int | None:
    try:
        return None if _is_zombie(pid) else os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return None


def _is_zombie(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return False


def free_ports(count: int) -> list[int]:
    """Returns loopback ports that no program listens on. All are held open together, so that they differ."""
    ports: list[int] = []
    with ExitStack() as stack:
        while len(ports) < count:
            port = secrets.choice(PORTS)
            with suppress(OSError):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
                ports.append(port)
    return ports


def is_free(port: int) -> bool:
    """Whether a program could listen on this loopback port now."""
    with socket.socket() as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
