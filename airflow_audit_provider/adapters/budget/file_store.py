"""Budget of one machine: a file in a private folder, changed under a lock on the folder.

The kernel releases the lock of a process that ends, however it ends, so no lock is ever stale. A change writes the new
bytes beside the old ones, and then the pointer to them: a process that is killed while it writes leaves the old ones.
Renaming a new file would do the same, but some file systems write such a file to the disk at once: 2 ms instead of
0.05 ms (ext4, measured). The clock counts from the start of the machine, alike for all its processes, and the file's
name contains the start: another one begins a new budget.

Network file systems are not supported: most refuse the lock on a folder, and then the budget is reported as unusable.

Invariant: nothing is read or written in a folder that another user could have prepared.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from airflow_audit_provider.adapters.clock import boot_id, seconds_since_boot
from airflow_audit_provider.core.api.token_budget import BudgetUnavailableError
from airflow_audit_provider.core.ports import Clock

_Result = TypeVar("_Result")

# A change takes a fraction of a millisecond. Who holds the lock for seconds was stopped or is on a stalled disk.
_LOCK_TIMEOUT_SECONDS = 2.0
_LOCK_POLL_SECONDS = 0.001
# A budget of 1200 requests has about 11 kB. More than this is not a budget.
_MAX_BYTES = 64 << 20
# Offset and length of the content, at the beginning of the file. The first page is theirs alone: a write within one
# page is done or not done when its process is killed.
_POINTER = struct.Struct("<QQ")
_FIRST_AT = 4096


class FileBudgetStore:
    """Implements ``BudgetStore`` with one file of the first usable ``folders``; ``now`` is the machine's clock."""

    def __init__(
        self, folders: Sequence[Path], digest: str, clock: Clock, now: Callable[[], float] = seconds_since_boot
    ) -> None:
        self._folder = _first_usable(folders)
        self._name = f"{digest}-{boot_id()}"
        self._clock = clock
        self._now = now

    def update(self, change: Callable[[bytes | None, float], tuple[bytes, _Result]]) -> _Result:
        """Changes the file's bytes while no other process does; raises ``BudgetUnavailableError``."""
        try:
            with self._locked_folder() as folder:
                return self._changed(folder, change)
        except OSError as error:
            raise BudgetUnavailableError(f"the folder {self._folder} cannot be used ({error})") from error

    def _changed(self, folder: int, change: Callable[[bytes | None, float], tuple[bytes, _Result]]) -> _Result:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(self._name, flags, 0o600, dir_fd=folder)
        try:
            at, length = _pointer(file)
            content, result = change(os.pread(file, length, at) if at else None, self._now())
            # Before the old bytes if there is room, otherwise behind them.
            new_at = _FIRST_AT if _FIRST_AT + len(content) <= at else max(_FIRST_AT, at + length)
            _write(file, content, new_at)
            _write(file, _POINTER.pack(new_at, len(content)), 0)
            return result
        finally:
            os.close(file)

    @contextmanager
    def _locked_folder(self) -> Iterator[int]:
        """Opens and locks the folder; it is opened each time, so that forked processes share no lock."""
        try:
            folder = _open_private(self._folder)
        except FileNotFoundError:
            # A cleaner of temporary files has removed it.
            self._folder.mkdir(mode=0o700, exist_ok=True)
            folder = _open_private(self._folder)
        try:
            self._lock(folder)
            yield folder
        finally:
            os.close(folder)

    def _lock(self, folder: int) -> None:
        give_up_at = self._clock.monotonic() + _LOCK_TIMEOUT_SECONDS
        while True:
            try:
                return fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if self._clock.monotonic() > give_up_at:
                    raise BudgetUnavailableError(
                        f"the folder {self._folder} was locked for {_LOCK_TIMEOUT_SECONDS:.0f} s. A process that holds "
                        "the lock is stopped, or the disk has stalled"
                    ) from error
            self._clock.sleep(_LOCK_POLL_SECONDS)


def _first_usable(folders: Sequence[Path]) -> Path:
    """Returns the first folder that exists or can be made, and belongs to this user alone."""
    problems = []
    for folder in folders:
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            os.close(_open_private(folder))
        except (OSError, BudgetUnavailableError) as error:
            problems.append(str(error))
        else:
            return folder
    raise BudgetUnavailableError(f"no folder for it can be used: {'; '.join(problems)}")


def _open_private(path: Path) -> int:
    """Opens a folder; raises ``BudgetUnavailableError`` for a link, and unless it belongs to this user alone."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    found = os.fstat(folder)
    if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        os.close(folder)
        raise BudgetUnavailableError(
            f"the folder {path} belongs to another user, or other users have access to it. Remove it"
        )
    return folder


def _pointer(file: int) -> tuple[int, int]:
    """Returns where the content begins, and its length; 0 and 0 for a new file."""
    packed = os.pread(file, _POINTER.size, 0)
    if len(packed) < _POINTER.size:
        return 0, 0
    at, length = _POINTER.unpack(packed)
    # A pointer that no writer has written points to content that is damaged, too.
    return (at, length) if at >= _FIRST_AT and at + length <= _MAX_BYTES else (_FIRST_AT, 0)


def _write(file: int, content: bytes, at: int) -> None:
    written = os.pwrite(file, content, at)
    if written != len(content):
        raise OSError(errno.ENOSPC, "only a part could be written")
