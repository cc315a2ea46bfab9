"""Checks the machine before anything is installed.

Imports only the standard library. Every refusal ends with what to do.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

OLDEST = (3, 11)
NEWEST = (3, 14)
# Measured: the environment takes 1.6 GB, and pip or uv keeps about as much in its cache and while it unpacks.
ROOM_BYTES_FIRST = 4_000_000_000
ROOM_BYTES_LATER = 500_000_000


@dataclass(frozen=True)
class Machine:
    """The properties of this machine that the demo depends on."""

    version: tuple[int, int]
    platform: str
    free_bytes: int
    has_venv: bool
    installed: bool


class RefusalError(Exception):
    """The demo cannot run. The text states why and what to do."""


def look(root: Path, *, installed: bool) -> Machine:
    """Returns the properties of this machine; `root` is an existing folder on the disk the demo will use."""
    return Machine(
        version=(sys.version_info.major, sys.version_info.minor),
        platform=sys.platform,
        free_bytes=shutil.disk_usage(root).free,
        has_venv=all(importlib.util.find_spec(name) is not None for name in ("venv", "ensurepip")),
        installed=installed,
    )


def refuse(machine: Machine) -> None:
    """Raises RefusalError if the demo cannot run on this machine."""
    for check in (_version, _platform, _room, _venv):
        check(machine)


def _version(machine: Machine) -> None:
    found = "{}.{}".format(*machine.version)
    if machine.version < OLDEST:
        raise RefusalError(
            f"This is Python {found}, and Airflow's provider needs 3.11 or newer: "
            "run `make demo PYTHON=python3.12`, or install Python 3.12 first."
        )
    if machine.version > NEWEST:
        raise RefusalError(
            f"This is Python {found}, and Airflow 3.3.2 stops at 3.14: "
            "run `make demo PYTHON=python3.12`, or install Python 3.12 first."
        )


def _platform(machine: Machine) -> None:
    if machine.platform == "win32":
        raise RefusalError("Airflow does not run on Windows itself: run the demo inside WSL or a Linux machine.")


def _room(machine: Machine) -> None:
    wanted = ROOM_BYTES_LATER if machine.installed else ROOM_BYTES_FIRST
    if machine.free_bytes < wanted:
        raise RefusalError(
            f"The disk has {machine.free_bytes / 1e9:.1f} GB free and the demo needs {wanted / 1e9:.1f} GB: "
            "free some room, or check out the repository on a larger disk."
        )


def _venv(machine: Machine) -> None:
    if not machine.has_venv and not machine.installed:
        raise RefusalError(
            "This Python comes without the venv module: "
            "install it (on Debian and Ubuntu `apt install python3-venv`) and run `make demo` again."
        )
