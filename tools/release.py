"""Checks that a release tag, the package's version and the changelog agree, and prints a release's notes.

Usage: `python tools/release.py check v1.0.0` and `python tools/release.py notes v1.0.0`.
Standard library only: the release workflow runs it before anything is installed.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
VERSION = re.compile(r'^__version__ = "([^"]+)"$', re.MULTILINE)


def version_in(project: Path) -> str:
    """Returns the package's version, read without importing it."""
    found = VERSION.search((project / "airflow_audit_provider" / "__init__.py").read_text(encoding="utf-8"))
    if found is None:
        sys.exit('airflow_audit_provider/__init__.py has no line `__version__ = "…"`.')
    return found[1]


def notes_of(version: str, changelog: str) -> str:
    """Returns the text of a version's section in the changelog, without its heading; empty if there is none."""
    section = re.search(rf"^## {re.escape(version)} \(.*?\)\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    return section[1].strip() if section else ""


def problems_of(tag: str, project: Path) -> list[str]:
    """Returns what keeps a tag from being released, each with its remedy."""
    version, found = version_in(project), []
    if tag != f"v{version}":
        found.append(f"The tag is {tag}, the package's version is {version}: tag v{version}, or change the version.")
    changelog = (project / "CHANGELOG.md").read_text(encoding="utf-8")
    if not notes_of(version, changelog):
        found.append(
            f"CHANGELOG.md has no entry for {version}: run `make changelog VERSION={version}`, commit, tag again."
        )
    pending = sorted(path.name for path in (project / "changelog.d").glob("*.md") if path.name != "README.md")
    if pending:
        found.append(f"changelog.d/ still has {', '.join(pending)}: they belong to the release, or to a later commit.")
    return found


def main(command: str, tag: str) -> None:
    """Runs one of the two commands; raises SystemExit with the problems, if there are any."""
    if command == "check":
        problems = problems_of(tag, PROJECT)
        if problems:
            sys.exit("\n".join(problems))
        print(f"{tag} can be released.")
    elif command == "notes":
        print(notes_of(tag.removeprefix("v"), (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")))
    else:
        sys.exit(f"Unknown command {command!r}: use check or notes.")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2])
