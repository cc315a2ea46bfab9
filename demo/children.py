"""Starting and ending the demo's child programs, each in a session of its own.

Knows: sessions, signals and log files.
Must not know: what a child does.
Its one rule: what was started here is ended here, with all its descendants, by number and never by name.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

# How long a child may take over each signal before the next, harder one.
PATIENCE: tuple[tuple[signal.Signals, float], ...] = (
    (signal.SIGINT, 5.0),
    (signal.SIGTERM, 2.0),
    (signal.SIGKILL, 2.0),
)


@dataclass(frozen=True)
class Child:
    """One started program; its pid is its session's number too."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path


class ChildDiedError(Exception):
    """A child ended while it was still needed; carries its name and log."""

    def __init__(self, child: Child) -> None:
        super().__init__(f"{child.name} ended by itself with code {child.popen.returncode}")
        self.child = child


class Children:
    """The programs started so far; leaving the `with` block ends them all, last started first."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.started: list[Child] = []

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, name: str, command: Sequence[str], environ: Mapping[str, str], *, cwd: Path) -> Child:
        """Start a program in its own session, both outputs into `<logs>/<name>.log`."""
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
        """Raise ChildDiedError if any child has ended."""
        for child in self.started:
            if child.popen.poll() is not None:
                raise ChildDiedError(child)

    def kill(self, name: str) -> None:
        """End one child and its descendants at once, as a dead machine does, and need it no longer."""
        (child,) = (child for child in self.started if child.name == name)
        self.started.remove(child)
        lost = Children(self.logs)
        lost.started = [child]
        while lost.survivors():
            lost.signal(signal.SIGKILL)
            time.sleep(0.05)

    def stop(self) -> None:
        """End every child and every descendant in its session; a second Ctrl-C does not interrupt this."""
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            for number, patience_seconds in PATIENCE:
                if not self.signal(number):
                    break
                self._await_end(patience_seconds)
        finally:
            signal.signal(signal.SIGINT, before)

    def survivors(self) -> list[int]:
        """The pids that still live in a session started here."""
        for child in self.started:
            child.popen.poll()
        sessions = {child.popen.pid for child in self.started}
        return [pid for pid in _all_pids(sessions) if _session(pid) in sessions]

    def signal(self, number: signal.Signals) -> bool:
        """Send a signal to all that live, SIGINT only to the children; return whether anything lived."""
        pids = self.survivors()
        # SIGINT goes to the leaders only, which then end their own children in good order.
        leaders = {child.popen.pid for child in self.started}
        for pid in [pid for pid in pids if pid in leaders] if number is signal.SIGINT else pids:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
        return bool(pids)

    def _await_end(self, patience_seconds: float) -> None:
        deadline = time.monotonic() + patience_seconds
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
    """So many loopback ports that nobody listens on; held open together so that all differ."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def is_free(port: int) -> bool:
    """Whether this loopback port can be listened on now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
