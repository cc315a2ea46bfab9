"""Where tests write their files: in memory if the machine has enough of it, otherwise on the disk.

The package has each file that it commits written to the disk, which takes milliseconds where the folder is on a disk,
and nothing in memory: half the time of the tests that land windows. That it asks for this, and what a process that is
killed leaves behind, is the same in both. `make nightly` names the disk, so that each night everything is tested on it.
"""

from __future__ import annotations

import os
from pathlib import Path

# Of both the folder and the machine's memory. All tests together leave 2 GB if nothing is removed in between.
ENOUGH_BYTES = 6 << 30
# pytest makes its temporary folders below the one that this variable names.
ROOT_VARIABLE = "PYTEST_DEBUG_TEMPROOT"


def use_memory(folder: Path = Path("/dev/shm"), proc: Path = Path("/proc")) -> None:
    """Has pytest make its folders in memory, unless a folder is named already or there is too little memory."""
    if ROOT_VARIABLE not in os.environ and _is_in_memory(folder, proc) and _free_bytes(folder, proc) >= ENOUGH_BYTES:
        os.environ[ROOT_VARIABLE] = str(folder)


def _is_in_memory(folder: Path, proc: Path) -> bool:
    """Whether a file system in memory is mounted at the folder, and it can be written to."""
    mounts = _text(proc / "mounts")
    return any(line.split()[1:3] == [str(folder), "tmpfs"] for line in mounts) and os.access(folder, os.W_OK)


def _free_bytes(folder: Path, proc: Path) -> int:
    """Returns the bytes that files in the folder can take without other processes lacking memory."""
    system = os.statvfs(folder)
    available = [int(line.split()[1]) << 10 for line in _text(proc / "meminfo") if line.startswith("MemAvailable:")]
    return min([system.f_bavail * system.f_frsize, *available]) if available else 0


def _text(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.is_file() else []
