"""Runs pip in an empty environment and reads from its output which versions it tried.

Nothing is installed: pip resolves, downloads what it needs to know the dependencies, and stops.
"""

from __future__ import annotations

import re
import subprocess
import sys
import venv
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename

# A wall-clock limit for a busy machine; docs/get-started/install.md has the seconds of a quiet one.
_TIMEOUT_SECONDS = 1200
_CANDIDATE = re.compile(
    r"^\s*(?:Downloading|Using cached|Processing|Obtaining dependency information for .* from) (\S+)", re.MULTILINE
)
_WARNINGS = re.compile(r"^.*(?:is looking at multiple versions of|does not provide the extra).*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Resolution:
    """Versions and warnings that pip printed while it resolved."""

    tried: dict[str, list[str]]
    warnings: list[str]

    def packages_tried_often(self, most: int) -> dict[str, list[str]]:
        """Returns the packages of which pip tried more versions than this."""
        return {name: versions for name, versions in self.tried.items() if len(versions) > most}


def read_resolution(output: str) -> Resolution:
    """Reads pip's output: each version it took a file or metadata of, in order, and the warnings that it searches."""
    tried: dict[str, list[str]] = defaultdict(list)
    for file in _CANDIDATE.findall(output):
        name, version = _name_and_version(file.rsplit("/", 1)[-1].removesuffix(".metadata"))
        if version is not None and version not in tried[name]:
            tried[name].append(version)
    return Resolution(dict(tried), _WARNINGS.findall(output))


def _name_and_version(file: str) -> tuple[str, str | None]:
    """Returns package and version from an archive's name, or no version for other names, such as a folder's."""
    for parse in (parse_wheel_filename, parse_sdist_filename):
        try:
            name, version, *_ = parse(file)
        except (InvalidWheelFilename, InvalidSdistFilename):
            continue
        return name, str(version)
    return file, None


def resolve(requirement: str, folder: Path, *arguments: str) -> Resolution:
    """Resolves a requirement with pip in an empty environment; fails the test if pip finds no versions."""
    venv.create(folder / "venv", with_pip=True)
    pip = [str(folder / "venv" / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--no-input"]
    # Asked for its dependencies, pip 23 downloads whole wheels; its cache keeps them between the tests.
    command = [*pip, "install", "--dry-run", requirement, *arguments]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_SECONDS)
    output = answer.stdout + answer.stderr
    assert answer.returncode == 0, output[-4000:]
    return read_resolution(output)


def python_of_the_tests() -> str:
    """Returns major and minor number of the Python version that has constraints files."""
    return ".".join(map(str, sys.version_info[:2]))
