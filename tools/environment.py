"""Creates the virtual environment of one lock file, and creates it again only after the lock or the project changed.

Packages are installed by the uv on the PATH. Without one, or where it fails, pip installs uv from the tests' lock;
where that is not possible, pip installs the packages. This module runs before anything is installed, so it imports only
the standard library.

Invariant: every package is checked against the lock's hashes, and none is built from source.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

PROJECT = Path(__file__).resolve().parent.parent
TEST_LOCK = PROJECT / "requirements" / "test.txt"
UV_FOLDER = PROJECT / ".cache" / "uv"
PIP = ("-m", "pip", "-qq", "--disable-pip-version-check", "--no-input", "install")
# A lock names every package, except those left out on purpose (test.excludes), so no dependency is looked up.
FROM_LOCK = ("--require-hashes", "--no-deps", "--only-binary", ":all:")


def install_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment without what leads pip or Python to other folders; indexes and proxies stay."""
    astray = {"PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_USER", "PIP_PREFIX", "PIP_ROOT", "PIP_REQUIRE_VIRTUALENV"}
    return {name: value for name, value in environ.items() if name not in astray}


def is_current(folder: Path, lock: Path) -> bool:
    """Whether the environment has the packages of this lock file."""
    return Path(python_in(folder)).exists() and is_fresh(folder / "made-from", digest_of(lock))


def digest_of(*paths: Path) -> str:
    """Returns a text that changes with the interpreter and with the files."""
    return _digest(*(path.read_bytes() for path in paths))


def is_fresh(stamp: Path, digest: str) -> bool:
    """Whether a stamp file was written for this digest."""
    return stamp.exists() and stamp.read_text() == digest


def python_in(folder: Path) -> str:
    """Returns the interpreter of an environment."""
    return str(folder / "bin" / "python")


def install_packages(folder: Path, lock: Path) -> None:
    """Creates the environment anew with the lock's packages; raises CalledProcessError."""
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    for uv in available_uvs(folder):
        print(f"Making {folder} from {lock} with Python {sys.version.split()[0]} and {uv} ...", flush=True)
        if _run_uv(uv, "pip", "install", "--python", python_in(folder), *FROM_LOCK, "-r", str(lock)):
            return
    # uv does not read pip's configuration; where a package index is configured for pip alone, pip finds the packages.
    print(f"Making {folder} from {lock} with Python {sys.version.split()[0]} and pip ...", flush=True)
    _run_pip(folder, *FROM_LOCK, "-r", str(lock))


def available_uvs(folder: Path) -> Iterator[Path]:
    """Yields the uv on the PATH, if any, then the one that an environment's pip can install."""
    on_path = shutil.which("uv")
    if on_path is not None:
        yield Path(on_path)
    installed = installed_uv(folder)
    if installed is not None:
        yield installed


def installed_uv(folder: Path) -> Path | None:
    """Returns the command uv in the version of the tests' lock, installed by an environment's pip; None without one."""
    requirement = re.search(r"^uv==.*\\\n(?: +--hash=.*\n)+", TEST_LOCK.read_text(), re.MULTILINE)
    if requirement is None:
        return None
    command, stamp = UV_FOLDER / "bin" / "uv", UV_FOLDER / "made-from"
    digest = _digest(requirement[0].encode())
    if not (command.exists() and is_fresh(stamp, digest)):
        shutil.rmtree(UV_FOLDER, ignore_errors=True)
        if not _pip_installs(folder, requirement[0]):
            return None
        stamp.write_text(digest)
    return command


def _pip_installs(folder: Path, requirement: str) -> bool:
    """Whether pip could install one requirement into the folder of uv."""
    with TemporaryDirectory() as temporary:
        lock = Path(temporary) / "uv.txt"
        lock.write_text(requirement)
        try:
            _run_pip(folder, *FROM_LOCK, "--target", str(UV_FOLDER), "-r", str(lock))
        except subprocess.CalledProcessError:
            return False
    return True


def _run_pip(folder: Path, *arguments: str) -> None:
    """Runs pip install; raises CalledProcessError."""
    subprocess.run([python_in(folder), *PIP, *arguments], env=install_environ(os.environ), check=True)


def _run_uv(uv: Path, *arguments: str) -> bool:
    """Whether uv succeeded; it must not fetch a Python, and uses the machine's certificates as pip does."""
    environment = {**install_environ(os.environ), "UV_PYTHON_DOWNLOADS": "never", "UV_SYSTEM_CERTS": "true"}
    command = [str(uv), "--quiet", "--no-config", *arguments]
    return subprocess.run(command, env=environment, check=False).returncode == 0


def install_project(folder: Path) -> None:
    """Installs the project, editable; hatchling is in the lock, so nothing is downloaded."""
    _run_pip(folder, "--no-deps", "--no-build-isolation", "-e", str(PROJECT))


def main(folder: Path, lock: Path) -> int:
    """Does what is stale. Each stamp is written last, so that an interrupted attempt is repeated."""
    packages, project = digest_of(lock), digest_of(lock, PROJECT / "pyproject.toml")
    if not is_fresh(folder / "made-from", packages):
        install_packages(folder, lock)
        (folder / "made-from").write_text(packages)
    if not is_fresh(folder / "installed", project):
        install_project(folder)
        (folder / "installed").write_text(project)
    return 0


def _digest(*contents: bytes) -> str:
    digest = hashlib.sha256(sys.version.encode())
    for content in contents:
        digest.update(content)
    return digest.hexdigest()


def run(arguments: Sequence[str]) -> int:
    """Runs the command line: the environment's folder and the lock file."""
    try:
        return main(Path(arguments[0]), Path(arguments[1]))
    except subprocess.CalledProcessError as error:
        sys.exit(f"Could not install: pip ended with {error.returncode}, see its output above. Fix that and try again.")


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
