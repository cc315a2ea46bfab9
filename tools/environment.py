"""Makes the virtual environment of one lock file, once, and again only when the lock or the project changed.

Knows: a folder, a lock, and the marks that say what the folder was made from.
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


def digest_of(*paths: Path) -> str:
    """Return a text that changes with the interpreter and with the files."""
    digest = hashlib.sha256(sys.version.encode())
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def is_fresh(mark: Path, digest: str) -> bool:
    """Say whether a mark was written for this digest."""
    return mark.exists() and mark.read_text() == digest


def python_in(folder: Path) -> str:
    """Return the interpreter of an environment."""
    return str(folder / "bin" / "python")


def install_packages(folder: Path, lock: Path) -> None:
    """Make the environment anew with the lock's packages."""
    print(f"Making {folder} from {lock} with Python {sys.version.split()[0]} (about a minute) ...", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    # Without looking for dependencies: a lock names them all, but for those left out on purpose (test.excludes).
    command = [python_in(folder), *PIP, "--require-hashes", "--no-deps", "--only-binary", ":all:", "-r", str(lock)]
    subprocess.run(command, check=True)


def install_project(folder: Path) -> None:
    """Install the project, editable; hatchling comes from the lock, so this asks no network for anything."""
    command = [python_in(folder), *PIP, "--no-deps", "--no-build-isolation", "-e", str(PROJECT)]
    subprocess.run(command, check=True)


def main(folder: Path, lock: Path) -> int:
    """Do what is stale, and write each mark last, so that a broken attempt is made again."""
    packages, project = digest_of(lock), digest_of(lock, PROJECT / "pyproject.toml")
    if not is_fresh(folder / "made-from", packages):
        install_packages(folder, lock)
        (folder / "made-from").write_text(packages)
    if not is_fresh(folder / "installed", project):
        install_project(folder)
        (folder / "installed").write_text(project)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
    except subprocess.CalledProcessError as error:
        sys.exit(f"Could not install (pip ended with {error.returncode}); its words stand above. Mend it, try again.")
