"""Finds the Python interpreters of this machine.

Invariant: an interpreter is accepted only after it has run and printed its version.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path


class NoInterpreterError(LookupError):
    """This machine has none of the wanted Python versions."""


def find(wanted: Sequence[str]) -> Path:
    """Returns the first interpreter of the wanted versions ("3.12"), in their order; raises NoInterpreterError."""
    for version in wanted:
        for candidate in _candidates(version):
            if _tells(candidate) == version:
                return candidate
    raise NoInterpreterError(
        f"No Python {' or '.join(wanted)} was found: not on the PATH, not below pyenv. "
        f"Install one of them (pyenv install {wanted[0]}) and run the matrix again."
    )


def _candidates(version: str) -> Iterator[Path]:
    """Yields every path where such a Python may be; shims of pyenv may exist without working."""
    yield Path(sys.executable).resolve()
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        found = shutil.which(f"python{version}", path=folder)
        if found:
            yield Path(found)
    roots = (os.environ.get("PYENV_ROOT"), Path.home() / ".pyenv")
    for root in roots:
        if root:
            yield from sorted(Path(root).glob(f"versions/{version}.*/bin/python"), reverse=True)


def _tells(candidate: Path) -> str | None:
    """Returns the version that an interpreter prints; None if it does not run."""
    question = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        answer = subprocess.run([candidate, "-c", question], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None
