"""Makes the virtual environment of one lock file, once, and again only when the lock or the project changed.

Knows: a folder, a lock, and the stamp that says which lock the folder was made from.
Must not know: what the environment is for.
Its one rule: standard library only, because it runs before anything is installed; every package by hash, no
package built from source.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import venv
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
PIP = ("-m", "pip", "-qq", "--disable-pip-version-check", "--no-input", "install")


def stamp_of(lock: Path) -> str:
    """Return a text that changes whenever the environment has to be made again."""
    digest = hashlib.sha256(sys.version.encode())
    for path in (lock, PROJECT / "pyproject.toml"):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def python_in(folder: Path) -> Path:
    """Return the interpreter of an environment."""
    return folder / "bin" / "python"


def is_fresh(folder: Path, stamp: str) -> bool:
    """Say whether the environment is there, whole, and made from this lock."""
    mark = folder / "stamp"
    return python_in(folder).exists() and mark.exists() and mark.read_text() == stamp


def make(folder: Path, lock: Path) -> None:
    """Make the environment with the lock's packages and the project itself, editable."""
    print(f"Making {folder} from {lock} with Python {sys.version.split()[0]} (about a minute) ...", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    python = str(python_in(folder))
    subprocess.run([python, *PIP, "--require-hashes", "--only-binary", ":all:", "-r", str(lock)], check=True)
    # hatchling comes from the lock, so that building the project asks no network for anything.
    subprocess.run([python, *PIP, "--no-deps", "--no-build-isolation", "-e", str(PROJECT)], check=True)


def main(folder: Path, lock: Path) -> int:
    """Make the environment if it is stale; the stamp is written last, so a broken attempt is made again."""
    stamp = stamp_of(lock)
    if not is_fresh(folder, stamp):
        make(folder, lock)
        (folder / "stamp").write_text(stamp)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
