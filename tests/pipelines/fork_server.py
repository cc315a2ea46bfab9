"""Fork server: real child processes, which a test may kill at any moment, of one process that has imported everything.

Python starts once and not for every child. A child reports its end by its exit status only.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

_POLL_SECONDS = 0.001


def fork_for_lines(work: Callable[..., None]) -> None:
    """Does the work once for every line of standard input, with its words as arguments, each in a child process.

    Prints the id of the child, then its exit code.
    """
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            work_and_exit(work, *line.split())
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def work_and_exit(work: Callable[..., None], *words: Any) -> None:
    """Does the work and exits: with 0, or with 1 after printing the traceback."""
    code = 1
    try:
        work(*words)
        code = 0
    except Exception:  # noqa: BLE001 - reported by the traceback and the exit code
        traceback.print_exc()
    finally:
        os._exit(code)


def cpu_seconds_of(pid: int) -> float:
    """Returns the CPU time all threads of a process have used, which other processes hardly change; 0 once it ended."""
    total = 0
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            total += int((thread / "schedstat").read_text().split()[0])
    return total / 1e9


class ForkServer:
    """A process that runs ``code`` with its arguments, forks children and reports how they ended."""

    def __init__(self, code: str, *arguments: str) -> None:
        command = [sys.executable, "-c", code, *arguments]
        self._server = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, cwd=Path(__file__).parents[2]
        )
        self.child = 0
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._requests, self._reports = self._server.stdin, self._server.stdout

    def run(self, line: str, is_time: Callable[[], bool] = lambda: False) -> int:
        """Runs one child, killed as soon as ``is_time``; returns its exit code."""
        self._requests.write(f"{line}\n".encode())
        child = int(self._reports.readline())
        self.child = child
        while not select.select([self._reports], [], [], _POLL_SECONDS)[0]:
            if is_time():
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
                break
        return int(self._reports.readline())

    def close(self) -> None:
        """Ends the process."""
        self._requests.close()
        self._server.wait(300)
        self._reports.close()
