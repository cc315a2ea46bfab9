"""Writes the software bill of materials (SBOM) of a built wheel, as CycloneDX JSON.

The bill lists the wheel's dependencies as they resolve beside the newest supported Airflow, by the lock file the tests
run on. The packages go into an environment of their own without pip, so that nothing but them is listed.
Standard library only: it runs before anything is installed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
LOCK = PROJECT / "requirements" / "airflow-3.3.2.txt"
CYCLONEDX = PROJECT / ".tools" / "venv" / "bin" / "cyclonedx-py"
DYNAMIC = 'dynamic = ["version"]'


def newest_wheel(folder: Path) -> Path:
    """Returns the only wheel of a folder; raises SystemExit if there is none, or more than one."""
    wheels = sorted(folder.glob("*.whl"))
    if len(wheels) != 1:
        found = ", ".join(wheel.name for wheel in wheels) or "none"
        sys.exit(f"Expected one wheel in {folder}, found: {found}. Empty the folder, run `make wheel`, then try again.")
    return wheels[0]


def version_of(wheel: Path) -> str:
    """Returns the version in a wheel's file name."""
    return wheel.name.split("-")[1]


def install(wheel: Path, environment: Path) -> Path:
    """Makes an environment of the locked dependencies and the wheel, and returns its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(environment)], check=True)
    python = environment / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "-qq", "--disable-pip-version-check", "install"]
    locked = ["--require-hashes", "--only-binary", ":all:", "-r", str(LOCK)]
    subprocess.run([*pip, "--no-deps", *locked], check=True)
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True)
    return python


def pyproject_of(version: str) -> str:
    """Returns the project's metadata with its version, which the build computes and cyclonedx-py does not."""
    text = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
    if text.count(DYNAMIC) != 1:
        sys.exit(f"pyproject.toml has no line `{DYNAMIC}`; tools/sbom.py replaces it by the wheel's version. Adapt it.")
    return text.replace(DYNAMIC, f'version = "{version}"')


def main(folder: Path) -> None:
    """Writes `airflow_audit_provider-<version>.cdx.json` beside the folder of the wheel, in `<folder>/../sbom`."""
    wheel = newest_wheel(folder)
    # Not beside the wheel: everything in its folder is uploaded to the package index.
    written = folder.parent / "sbom" / f"{wheel.name.split('-')[0]}-{version_of(wheel)}.cdx.json"
    written.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        python = install(wheel, Path(scratch) / "venv")
        pyproject = Path(scratch) / "pyproject.toml"
        pyproject.write_text(pyproject_of(version_of(wheel)), encoding="utf-8")
        metadata = ["--pyproject", str(pyproject), "--mc-type", "library"]
        output = ["--output-reproducible", "--output-format", "JSON", "--output-file", str(written)]
        subprocess.run([CYCLONEDX, "environment", *metadata, *output, python], check=True)
    print(f"{written.relative_to(folder.parent)}: CycloneDX, {wheel.name} with {LOCK.relative_to(PROJECT)}")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]).resolve())
    except subprocess.CalledProcessError as error:
        sys.exit(f"No SBOM was written: a command failed with {error.returncode}, see its output above.")
