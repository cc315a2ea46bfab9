"""Real child processes that may be killed at any moment, begun by one process that has imported everything already.

Knows: forking, signals. Must not know: what a child does.
Its one rule: Python begins once, and not for every child; a child's end is told by its exit status alone.
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

_LOOK_SECONDS = 0.001


def fork_for_lines(work: Callable[..., None]) -> None:
    """Do the work once for every line that comes in, given its words, each in a process of its own.

    A child's id is told, and how it ended.
    """
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            work_and_exit(work, *line.split())
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def work_and_exit(work: Callable[..., None], *words: Any) -> None:
    """Do the work and end this process: with 0, or with 1 and what was raised on the error output."""
    code = 1
    try:
        work(*words)
        code = 0
    except Exception:  # noqa: BLE001 - told on the error output and by the status
        traceback.print_exc()
    finally:
        os._exit(code)


def cpu_seconds_of(pid: int) -> float:
    """Return the CPU time all threads of a process have used, which other processes hardly change; 0 once it ended."""
    total = 0
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            total += int((thread / "schedstat").read_text().split()[0])
    return total / 1e9


class Nursery:
    """A process that begins children and says how they ended; ``code`` is what it runs, with its arguments."""

    def __init__(self, code: str, *arguments: str) -> None:
        command = [sys.executable, "-c", code, *arguments]
        self._forker = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, cwd=Path(__file__).parents[3]
        )
        self.child = 0
        assert self._forker.stdin is not None
        assert self._forker.stdout is not None
        self._asked, self._told = self._forker.stdin, self._forker.stdout

    def run(self, line: str, is_time: Callable[[], bool] = lambda: False) -> int:
        """Run one child, killed when it is time if it lives so long; return how it ended."""
        self._asked.write(f"{line}\n".encode())
        child = int(self._told.readline())
        self.child = child
        while not select.select([self._told], [], [], _LOOK_SECONDS)[0]:
            if is_time():
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
                break
        return int(self._told.readline())

    def close(self) -> None:
        """End, as there is no more to ask."""
        self._asked.close()
        self._forker.wait(300)
        self._told.close()
