"""Writes ``constraints/airflow-<version>-python-<version>.txt`` from the locks of the Airflow versions.

A lock holds the packages that the tests of one Airflow version run on. A constraints file adds what the extras need
beside them, for one Python version, so that ``pip install --constraint`` has one candidate for each package.

Invariant: a package of the lock has the lock's version in the constraints file, except where an extra cannot be
installed beside it. The file's header names those packages; `tests/packaging` compares file, header and lock.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

from packaging.markers import Marker
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).resolve().parent.parent
FOLDER = PROJECT / "constraints"
UV = os.environ.get("UV", str(Path(sys.executable).with_name("uv")))
PLATFORM = "x86_64-manylinux_2_28"

# The Python versions that each Airflow accepts (its Requires-Python), from the oldest that this project accepts.
PYTHONS = {
    "3.0.6": ("3.11", "3.12"),
    "3.1.8": ("3.11", "3.12", "3.13"),
    "3.2.2": ("3.11", "3.12", "3.13"),
    "3.3.2": ("3.11", "3.12", "3.13"),
}
# The Airflow of requirements/test.txt, which has the packages of the stores in the versions of the tests.
TESTED = "3.3.2"

_DELTA = {"deltalake": "2026-11-01", "arro3-core": "2026-11-01"}
# The days at which tools/lock locks the older Airflows; packages younger than that day need their own day.
DAYS = {
    "3.0.6": (
        "2025-09-05",
        {
            "apache-airflow-providers-common-compat": "2026-01-31",
            "rfc3161-client": "2026-07-15",
            # pysigma 1.0 and what it requires.
            **dict.fromkeys(("pysigma", "pyyaml", "pyparsing", "types-pyyaml"), "2025-12-31"),
            **_DELTA,
        },
    ),
    "3.1.8": (
        "2026-03-25",
        {"pyiceberg": "2026-11-01", "pyiceberg-core": "2026-11-01", "rfc3161-client": "2026-07-15", **_DELTA},
    ),
}
# Bounds that installations usually have, where an extra would exceed them. Celery's kombu accepts no newer redis.
BOUNDS = ("redis<6.5",)
# Extras that cannot be installed beside an Airflow, so that its constraints file leaves them out: Airflow 3.0 requires
# SQLAlchemy 1.4, and pyiceberg's SQL catalog SQLAlchemy 2.
WITHOUT = {"3.0.6": frozenset({"iceberg"})}

_PIN = re.compile(r"^(?P<name>[A-Za-z0-9][\w.-]*)==(?P<version>[^\s;\\]+)\s*(?:;\s*(?P<marker>[^\\]+?))?\s*\\?$")

HEADER = """\
# Constraints for apache-airflow {airflow} on Python {python}, written by `make constraints` from
# requirements/airflow-{airflow}.txt: every package that airflow-audit-provider and its extras need.
#   pip install 'airflow-audit-provider[parquet,zstd,s3]' --constraint {name}
# Extras that this Airflow does not allow: {without}
# Other versions than the lock, because an extra requires them: {others}
# Packages of the lock that nothing requires then: {left_out}
"""


@dataclass(frozen=True, slots=True)
class Target:
    """One Airflow version on one Python version."""

    airflow: str
    python: str

    @property
    def path(self) -> Path:
        """The constraints file."""
        return FOLDER / f"airflow-{self.airflow}-python-{self.python}.txt"

    @property
    def extras(self) -> list[str]:
        """The extras that the file covers."""
        declared = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        return sorted(declared.keys() - WITHOUT.get(self.airflow, frozenset()))

    @property
    def days(self) -> list[str]:
        """The arguments by which uv leaves out younger packages."""
        if self.airflow not in DAYS:
            return []
        day, exceptions = DAYS[self.airflow]
        return [
            f"--exclude-newer={day}",
            *(f"--exclude-newer-package={name}={day}" for name, day in exceptions.items()),
        ]

    @property
    def lock(self) -> Path:
        """The lock of this Airflow."""
        return PROJECT / "requirements" / f"airflow-{self.airflow}.txt"


TARGETS = tuple(Target(airflow, python) for airflow, pythons in PYTHONS.items() for python in pythons)


def locked_versions(text: str, python: str) -> dict[str, str]:
    """Returns the version of each package in a lock that applies to this Python version on Linux."""
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "implementation_version": f"{python}.0",
    }
    environment |= {
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
        "platform_machine": "x86_64",
    }
    environment |= {"implementation_name": "cpython", "platform_python_implementation": "CPython"}
    versions: dict[str, str] = {}
    for line in text.splitlines():
        pin = _PIN.match(line)
        if pin and (pin["marker"] is None or Marker(pin["marker"]).evaluate(environment)):
            versions[canonicalize_name(pin["name"])] = pin["version"]
    return versions


def versions_for(target: Target) -> dict[str, str]:
    """Returns the versions of a target's lock."""
    return locked_versions(target.lock.read_text(), target.python)


def preferred_versions(target: Target) -> dict[str, str]:
    """Returns the versions to keep where possible: the lock's, then the tests', then those of the last result."""
    preferred = locked_versions(target.path.read_text(), target.python) if target.path.exists() else {}
    if target.airflow == TESTED:
        preferred |= locked_versions((PROJECT / "requirements" / "test.txt").read_text(), target.python)
    return preferred | versions_for(target)


def header_of(target: Target, versions: dict[str, str]) -> str:
    """Returns the comment at the top of a target's file, which names what differs from the lock."""
    locked = versions_for(target)
    kept = sorted(locked.keys() & versions.keys())
    return HEADER.format(
        airflow=target.airflow,
        python=target.python,
        name=target.path.relative_to(PROJECT),
        without=_listed(sorted(WITHOUT.get(target.airflow, ()))),
        others=_listed([f"{name} {versions[name]}" for name in kept if locked[name] != versions[name]]),
        left_out=_listed(sorted(locked.keys() - versions.keys())),
    )


def _listed(words: list[str]) -> str:
    return ", ".join(words) or "none"


def write(target: Target, *arguments: str) -> None:
    """Resolves all extras, as near to the locked versions as they allow, and writes the constraints file."""
    with tempfile.TemporaryDirectory() as folder:
        resolved = Path(folder) / "resolved.txt"
        # uv keeps the versions of an output file that exists, where it can.
        resolved.write_text("".join(f"{name}=={version}\n" for name, version in preferred_versions(target).items()))
        bounds = Path(folder) / "bounds.txt"
        bounds.write_text("\n".join(BOUNDS))
        command = [UV, "pip", "compile", "--quiet", f"--constraint={bounds}", *target.days, *arguments]
        command += [f"--extra={extra}" for extra in target.extras]
        command += ["--python-version", target.python, "--python-platform", PLATFORM]
        command += ["--no-header", "--no-annotate", "--no-emit-index-url", "--strip-extras"]
        command += ["pyproject.toml", f"requirements/airflow-{target.airflow}.in", "--output-file", str(resolved)]
        subprocess.run(command, check=True, cwd=PROJECT, stdout=subprocess.DEVNULL)
        text = resolved.read_text()
    versions = locked_versions(text, target.python)
    target.path.write_text(header_of(target, versions) + text)
    print(f"{target.path.name}: {len(versions)} packages", flush=True)


def main(arguments: list[str]) -> None:
    """Writes every constraints file; arguments go to uv."""
    FOLDER.mkdir(exist_ok=True)
    for target in TARGETS:
        write(target, *arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
